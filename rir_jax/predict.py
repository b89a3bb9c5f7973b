"""Classifies image files: python -m rir_jax.predict --workdir=DIR IMAGE...

PNG, JPEG and WebP files of any size. The network is one that comes with the package
(--pretrained=rir32_cifar10), that of a finished run (--workdir), a file that rir_jax.export wrote
(--exported), or a folder of safetensors (--weights). With --json, one JSON object a file, for
programs. A file among several that is no image gets an entry that says so, and the exit code is 1.
"""

import json
import sys

from absl import flags

from rir_jax import cli
from rir_jax.errors import InputError, RunError

FLAGS = flags.FlagValues()
_WORKDIR = flags.DEFINE_string("workdir", None, "Folder of a finished run.", FLAGS)
_EXPORTED = flags.DEFINE_string("exported", None, "File of an exported network.", FLAGS)
_WEIGHTS = flags.DEFINE_string("weights", None, "Folder of model.safetensors.", FLAGS)
_PRETRAINED = flags.DEFINE_string("pretrained", None, "Name of a published network.", FLAGS)
_TOP = flags.DEFINE_integer("top", 3, "How many classes of each image.", 1, flag_values=FLAGS)
_JSON = flags.DEFINE_bool("json", False, "One JSON object a line.", FLAGS)
_BAR = 30  # characters of a probability of 1


def main(arguments: list[str]) -> None:
    cli.one_of(_WORKDIR, _EXPORTED, _WEIGHTS, _PRETRAINED)
    if not arguments:
        raise InputError("no image given; allowed: PNG, JPEG and WebP files, see --help")
    cli.use_compilation_cache()
    classify = _classifier()
    failed = 0
    for result in classify.predict_files(arguments, _TOP.value):
        if "error" in result and len(arguments) == 1:
            raise InputError(result["error"])
        failed += "error" in result
        print(json.dumps(result) if _JSON.value else describe(result, _block()), flush=True)
    if failed:
        raise RunError(
            f"{failed} of {len(arguments)} images could not be classified; their entries say why"
        )


def _classifier():
    if _EXPORTED.value:
        from rir_jax.trained import exported

        return exported.classifier(_EXPORTED.value)
    from rir_jax.trained.classifier import classifier

    if _WEIGHTS.value or _PRETRAINED.value:
        from rir_jax.trained.weights import from_pretrained

        return classifier(*from_pretrained(_PRETRAINED.value or _WEIGHTS.value))
    from rir_jax.trained.load import load_finished

    return classifier(*load_finished(_WORKDIR.value))


def describe(result: dict, block: str = "█") -> str:
    """What is known of one file, as a small table with bars of blocks.

    >>> best = {"name": "3", "index": 3, "probability": 0.5}
    >>> print(describe({"image": "digit.png", "changes": "", "classes": [best]}, block="#"))
    digit.png
      3   50.00 %  ###############
    """
    if "error" in result:
        return f"{result['image']}\n  {result['error']}"
    changes = f" ({result['changes']})" if result["changes"] else ""
    lines = [f"{result['image']}{changes}"]
    width = max(len(entry["name"]) for entry in result["classes"])
    for entry in result["classes"]:
        bar = block * round(_BAR * entry["probability"])
        line = f"  {entry['name']:{width}}  {100 * entry['probability']:6.2f} %  {bar}"
        lines.append(line.rstrip())
    return "\n".join(lines)


def _block():
    """What bars are made of, on this terminal."""
    try:
        "█".encode(sys.stdout.encoding or "ascii")
    except UnicodeEncodeError:
        return "#"
    return "█"


if __name__ == "__main__":
    cli.start(main, FLAGS)
