"""Puts trained networks into the package: python -m experiments.publish --workdir=DIR

DIR is the folder that experiments.run was given. For each finished row of the tables (--tables, at
--scale), the network of seed 0 goes into rir_jax/trained/pretrained, with a card that says how it
was trained and how good it is. Networks that were published before are replaced.
"""

import dataclasses
from typing import Any

from absl import flags
from etils import epath

from experiments import table
from experiments.runner import Result, read_table
from rir_jax import cli, config_fields
from rir_jax import config as configs
from rir_jax.errors import InputError
from rir_jax.trained import pretrained
from rir_jax.trained.evaluation import evaluate
from rir_jax.trained.load import load_finished
from rir_jax.trained.weights import save_pretrained

FLAGS = flags.FlagValues()
_WORKDIR = flags.DEFINE_string("workdir", None, "Folder of the runs.", FLAGS)
_TABLES = flags.DEFINE_list("tables", ["cifar10_32", "cifar100_32"], "Tables to publish.", FLAGS)
_SCALE = flags.DEFINE_enum(
    "scale", "medium", ["full", *table.SCALES], "Scale of the tables.", FLAGS
)
_DATA_DIR = flags.DEFINE_string("data_dir", None, "Folder of prepared data sets.", FLAGS)

_RECIPE = ("augment", "train", "optimizer", "schedule")  # groups of config fields


def main(arguments: list[str]) -> None:
    cli.no_arguments(arguments)
    if not _WORKDIR.value:
        raise InputError("--workdir is missing; see --help")
    for name in _TABLES.value:
        chosen = table.get_table(name).at_scale(_SCALE.value)
        how = f"python -m experiments.run --table={name} --scale={_SCALE.value}"
        for result in read_table(chosen, _WORKDIR.value, seeds=1):
            if result.summaries and result.summaries[0]["seed"] == 0:
                command = f"{how} --rows='{result.row.label}' --workdir=DIR"
                print(publish(result, command, _DATA_DIR.value))


def publish(result: Result, command: str, data_dir: str | None = None) -> epath.Path:
    """Publishes the network of a row's first seed. Returns its folder.

    Args:
      result: the result of a row, with a finished run.
      command: the command that trains the network again.
      data_dir: the folder of the prepared data set, if it is not where the config says.

    Raises:
      InputError, RunError: as `rir_jax.load`, or the data set is not there.
    """
    run, summary = result.runs[0], result.summaries[0]
    model, variables, info = load_finished(run)
    card = _card(summary, evaluate(run, data_dir), configs.flatten(info.config), command)
    folder = pretrained.FOLDER / f"{summary['model']}_{summary['dataset']}".replace("/", "_")
    save_pretrained(folder, model, variables, dataclasses.replace(info, card=card))
    return folder


def _card(summary, evaluated, fields, command) -> dict[str, Any]:
    recipe = {
        name: value
        for name, value in fields.items()
        if name.split(".")[0] in _RECIPE and name not in config_fields.INERT_FIELDS
    }
    return {
        "test_accuracy": evaluated["accuracy"],
        "num_correct": evaluated["num_correct"],
        "num_examples": evaluated["num_examples"],
        "test_loss": evaluated["loss"],
        **{name: summary[name] for name in ("model", "dataset", "epochs", "seed", "num_params")},
        "command": command,
        "recipe": recipe,
        "commit": summary["commit"],
        "device": summary["device"],
        "seconds": summary["seconds"],
        "license": "Apache-2.0",
    }


if __name__ == "__main__":
    cli.start(main, FLAGS)
