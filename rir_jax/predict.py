"""Classifies image files: python -m rir_jax.predict --workdir=DIR IMAGE_OR_FOLDER...

It takes PNG, JPEG and WebP files of any size. A folder stands for all files in it and in its
subfolders; "-" stands for the files that the standard input names, one a line. Each result is
printed as soon as it is known; --json prints one JSON object a line, for programs. If one of
several files is not an image, its entry says so, and the exit code is 1.

The network comes with the package (--pretrained=rir32_cifar10), from a finished run (--workdir),
from a file that rir_jax.export wrote (--exported), or from a folder of safetensors (--weights).
"""

import contextlib
import json
import os
import sys
from collections.abc import Iterator

from absl import flags

from rir_jax import cli
from rir_jax.data.folders import image_files
from rir_jax.errors import InputError, RunError

FLAGS = flags.FlagValues()
_WORKDIR = flags.DEFINE_string("workdir", None, "Folder of a finished run.", FLAGS)
_EXPORTED = flags.DEFINE_string("exported", None, "File of an exported network.", FLAGS)
_WEIGHTS = flags.DEFINE_string("weights", None, "Folder with model.safetensors.", FLAGS)
_PRETRAINED = flags.DEFINE_string("pretrained", None, "Name of a published network.", FLAGS)
_TOP = flags.DEFINE_integer("top", 3, "Number of classes to show.", 1, flag_values=FLAGS)
_JSON = flags.DEFINE_bool("json", False, "Print one JSON object a line.", FLAGS)
_BAR = 30  # length of the bar of a probability of 1


def main(arguments: list[str]) -> None:
    cli.one_of(_WORKDIR, _EXPORTED, _WEIGHTS, _PRETRAINED)
    if not arguments:
        raise InputError("no image given; allowed: PNG, JPEG and WebP files, see --help")
    classify = _classifier()
    failed = count = 0
    with contextlib.closing(classify.predict_files(_files(arguments), _TOP.value)) as results:
        for result in results:
            if "error" in result and [result["image"]] == arguments:
                raise InputError(result["error"])
            count += 1
            failed += "error" in result
            print(json.dumps(result) if _JSON.value else describe(result, _block()), flush=True)
    if not count:
        raise InputError("no image given: the standard input was empty")
    if failed:
        raise RunError(
            f"{failed} of {count:,} images could not be classified; their entries say why"
        )


def _files(arguments: list[str]) -> Iterator[str]:
    """The names of all files that the arguments stand for, each as soon as it is known."""
    for argument in arguments:
        if argument == "-":
            for name in _lines(sys.stdin.fileno()):
                yield from image_files(name)
        else:
            yield from image_files(argument)


def _lines(file: int) -> Iterator[str]:
    """The lines of a pipe, each as soon as it is there: Python's own reads would wait for more."""
    rest = b""
    while part := os.read(file, 2**16):
        *lines, rest = (rest + part).split(b"\n")
        yield from map(os.fsdecode, lines)
    if rest:
        yield os.fsdecode(rest)


def _classifier():
    if _EXPORTED.value:
        from rir_jax.trained import exported

        return exported.classifier(_EXPORTED.value)
    from rir_jax.trained.classifier import classifier
    from rir_jax.trained.load import load_finished
    from rir_jax.trained.weights import from_pretrained

    if _WORKDIR.value:
        return classifier(*load_finished(_WORKDIR.value))
    return classifier(*from_pretrained(_PRETRAINED.value or _WEIGHTS.value))


def describe(result: dict, block: str = "█") -> str:
    """The result for one file, as a small table with a bar of blocks for each class.

    Examples:
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
    """The character that bars are made of: a block, or # on a terminal that lacks it."""
    try:
        "█".encode(sys.stdout.encoding or "ascii")
    except UnicodeEncodeError:
        return "#"
    return "█"


if __name__ == "__main__":
    cli.start(main, FLAGS)
