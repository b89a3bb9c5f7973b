"""All commands as one, rir-jax; python -m rir_jax.COMMAND does the same."""

import importlib
import sys

from rir_jax.version import __version__

COMMANDS = {
    "train": "trains a network, or goes on with it",
    "evaluate": "measures a trained network on its test images, with pictures",
    "predict": "classifies image files",
    "compare": "shows several runs side by side",
    "export": "takes a trained network out: one file for JAX or ONNX, or its weights",
    "describe": "shows the layers of a network and what they cost, and draws it",
    "prepare": "makes a data set ready: your own pictures, or one that TFDS downloads",
}


def main() -> None:
    name = sys.argv[1] if len(sys.argv) > 1 else "--help"
    if name in COMMANDS:
        from rir_jax import cli  # not to make the rest wait for it

        command = importlib.import_module(f"rir_jax.{name}")
        sys.argv[:2] = [f"rir-jax {name}"]
        cli.start(command.main, command.FLAGS)
    elif name == "--version":
        print(f"rir_jax {__version__}")
    elif name in ("--help", "-h"):
        print(usage())
    else:
        names = ", ".join(COMMANDS)
        print(f"error: command {name!r} is unknown; allowed: {names}", file=sys.stderr)
        sys.exit(2)


def usage() -> str:
    """What can be asked for, in lines."""
    lines = [f"  rir-jax {name:9} {what}" for name, what in COMMANDS.items()]
    return "\n".join([*lines, "", "rir-jax COMMAND --help tells more; rir-jax --version"])


if __name__ == "__main__":
    main()
