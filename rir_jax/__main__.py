"""The command rir-jax, with all others as subcommands: python -m rir_jax.COMMAND is the same."""

import importlib
import sys

from rir_jax.version import __version__

COMMANDS = {
    "train": "trains a network, or resumes its training",
    "evaluate": "measures a trained network on its test images, and draws its mistakes",
    "predict": "classifies image files",
    "compare": "shows several runs side by side",
    "export": "writes a trained network into one file for JAX or ONNX, or its weights",
    "describe": "shows the layers of a network and what they cost, and draws it",
    "prepare": "makes a data set ready: your own pictures, or one that TFDS downloads",
}


def main() -> None:
    name = sys.argv[1] if len(sys.argv) > 1 else "--help"
    if name in COMMANDS:
        from rir_jax import cli  # slow to import, and --help does not need it

        command = importlib.import_module(f"rir_jax.{name}")
        sys.argv[:2] = [f"rir-jax {name}"]
        cli.start(command.main, command.FLAGS)
    elif name == "--version":
        print(f"rir_jax {__version__}")
    elif name in ("--help", "-h"):
        for name, what in COMMANDS.items():
            print(f"  rir-jax {name:9} {what}")
        print("\nrir-jax COMMAND --help shows its flags; rir-jax --version")
    else:
        names = ", ".join(COMMANDS)
        print(f"error: command {name!r} is unknown; allowed: {names}", file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    main()
