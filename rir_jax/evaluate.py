"""Evaluates a trained network: python -m rir_jax.evaluate --workdir=DIR

Prints exact accuracy and loss on the whole test split as one line of JSON, and draws the confusion
matrix and the worst mistakes into the folder, confusion.png and mistakes.png (--nopictures: not).
"""

import json

from absl import flags

from rir_jax import cli
from rir_jax.errors import InputError

FLAGS = flags.FlagValues()
_WORKDIR = flags.DEFINE_string("workdir", None, "Folder of the run.", FLAGS)
_DATA_DIR = flags.DEFINE_string(
    "data_dir", None, "Folder of prepared data sets, if it moved.", FLAGS
)
_PICTURES = flags.DEFINE_bool("pictures", True, "Whether to draw pictures.", FLAGS)


def main(arguments: list[str]) -> None:
    cli.no_arguments(arguments)
    if not _WORKDIR.value:
        raise InputError("--workdir is missing; see --help")
    cli.use_compilation_cache()
    from rir_jax.trained.load import evaluate

    print(json.dumps(evaluate(_WORKDIR.value, _DATA_DIR.value, _PICTURES.value)))


if __name__ == "__main__":
    cli.start(main, FLAGS)
