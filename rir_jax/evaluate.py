"""Evaluates a trained network: python -m rir_jax.evaluate --workdir=DIR

Prints one line of JSON: the exact accuracy and loss on the whole split that the run reports on,
the accuracy of each class and, with more than five classes, how often the true one is among the
five most probable. Draws the confusion matrix and the worst mistakes into the folder, as
confusion.png and mistakes.png, unless --nopictures is given. --pretrained=NAME evaluates a network
that comes with the package, without pictures.
"""

import json

from absl import flags

from rir_jax import cli

FLAGS = flags.FlagValues()
_WORKDIR = flags.DEFINE_string("workdir", None, "Folder of the run.", FLAGS)
_PRETRAINED = flags.DEFINE_string("pretrained", None, "Name of a published network.", FLAGS)
_DATA_DIR = flags.DEFINE_string(
    "data_dir", None, "Folder of prepared data sets, if it has moved.", FLAGS
)
_BATCH_SIZE = flags.DEFINE_integer(
    "batch_size", None, "Images at once (default: the run's own).", 1, flag_values=FLAGS
)
_PICTURES = flags.DEFINE_bool("pictures", True, "Draw confusion.png and mistakes.png.", FLAGS)


def main(arguments: list[str]) -> None:
    cli.no_arguments(arguments)
    cli.one_of(_WORKDIR, _PRETRAINED)
    from rir_jax.trained.evaluation import evaluate, evaluate_pretrained

    if _PRETRAINED.value:
        result = evaluate_pretrained(_PRETRAINED.value, _DATA_DIR.value, _BATCH_SIZE.value)
    else:
        result = evaluate(_WORKDIR.value, _DATA_DIR.value, _PICTURES.value, _BATCH_SIZE.value)
    print(json.dumps(result))


if __name__ == "__main__":
    cli.start(main, FLAGS)
