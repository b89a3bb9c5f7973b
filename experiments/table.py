"""What a table or figure is: rows of config fields, and what the paper reports for them."""

import dataclasses
import hashlib
import importlib
import json
import pkgutil
from typing import Any

import ml_collections

from rir_jax import config as configs
from rir_jax.errors import InputError
from rir_jax.models.zoo import FIELDS, create_model


@dataclasses.dataclass(frozen=True)
class Paper:
    """A figure that the paper reports.

    Attributes:
      accuracy: on the test set, in percent.
      sure: "A" (its abstract, captions or a quotation), "B" (two independent readers of it) or
        "C" (remembered or inferred, not to be taken for the paper's).
      note: where the paper has it from, if it is not its own.
    """

    accuracy: float
    sure: str
    note: str = ""


@dataclasses.dataclass(frozen=True)
class Row:
    """One network and recipe.

    Attributes:
      label: for people.
      fields: of the config that differ from the default, by path ("model.name", ...).
      paper: what the paper reports for it.
      small: fields instead, at ``--scale=small``.
    """

    label: str
    fields: dict[str, Any]
    paper: Paper | None = None
    small: dict[str, Any] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class Table:
    """A table or figure.

    Attributes:
      name: what ``--table`` takes.
      title: for people.
      rows: in the order of the report.
      fields: of the config that all rows share.
      small: fields instead, at ``--scale=small``; see `SMALL`.
      small_rows: labels of the rows that are run at ``--scale=small``; all when empty.
      figure: what is drawn beside the curves: "depth", "ablation" or nothing.
      note: what a reader of the report must know.
    """

    name: str
    title: str
    rows: tuple[Row, ...]
    fields: dict[str, Any] = dataclasses.field(default_factory=dict)
    small: dict[str, Any] = dataclasses.field(default_factory=dict)
    small_rows: tuple[str, ...] = ()
    figure: str | None = None
    note: str = ""

    def at_scale(self, scale: str) -> "Table":
        """This table with the rows and fields of a scale: "full" or "small"."""
        if scale == "full":
            return self
        rows = tuple(
            dataclasses.replace(
                row, fields=_with_small_model({**row.fields, **row.small}), paper=None
            )
            for row in self.rows
            if not self.small_rows or row.label in self.small_rows
        )
        fields = {**_with_small_model(self.fields), **SMALL, **self.small}
        note = (
            f"Small scale: {_split_sizes(fields)} images, {fields['train.epochs']} epochs, the "
            "sizes of ResNet-32, unless overridden. It shows an order at best; the paper's figures "
            "do not apply."
        )
        return dataclasses.replace(
            self,
            title=f"{self.title}, small scale",
            rows=rows,
            fields=fields,
            note=f"{note} {self.note}".strip(),
        )

    def config(self, row: Row, overrides: dict[str, Any]) -> ml_collections.ConfigDict:
        """The config of a row; ``overrides`` are the caller's, over all.

        Raises:
          InputError: a field that is unknown or a value that is not allowed.
        """
        return configs.from_flat({**self.fields, **row.fields, **overrides})


# What a CPU can do in minutes a row: enough for an order of the rows, not for the paper's numbers.
SMALL = {
    "dataset.num_train": 5000,
    "dataset.num_test": 2000,
    "train.batch_size": 100,
    "train.epochs": 8,
    "optimizer.learning_rate": 0.05,
    "schedule.milestones": (4, 6),
}


def folder_name(config: ml_collections.ConfigDict) -> str:
    """Of a config's runs: rows of the same config, in whatever table, share their runs.

    The model's name, and a digest of the fields that are not at their defaults, but for the seeds
    and those that change no result; the network's as they are once those left unset are filled in.
    """
    passed_over = ("seed", "num_seeds", *configs.INERT_FIELDS)
    values = {
        field: value
        for field, value in configs.flatten(config).items()
        if field not in passed_over and value != configs.FIELDS[field].default
    }
    network = create_model(config.model.name, **configs.model_fields(config))
    values |= {f"model.{field}": getattr(network, field) for field in FIELDS}
    content = json.dumps(values, sort_keys=True, default=str)
    return f"{config.model.name}-{hashlib.sha256(content.encode()).hexdigest()[:8]}"


def _with_small_model(fields):
    name = fields.get("model.name", "")
    return {**fields, "model.name": name.replace("18_wide", "32")} if name else fields


def _split_sizes(fields):
    """In words: what is trained on, and what is measured on."""
    train, test = fields["dataset.num_train"], fields["dataset.num_test"]
    validation = round(train * fields.get("dataset.validation_fraction", 0))
    if validation:
        return f"about {train - validation:,} training and {validation:,} validation"  # by class
    return f"{train:,} training and {test:,} test"


def list_tables() -> list[str]:
    """Names of the tables, from the files in experiments/tables."""
    from experiments import tables

    return sorted(module.name for module in pkgutil.iter_modules(tables.__path__))


def get_table(name: str) -> Table:
    """A table by its name.

    Raises:
      InputError: there is none of that name.
    """
    if name not in list_tables():
        raise InputError(f"table {name!r} is unknown; allowed: {', '.join(list_tables())}")
    return importlib.import_module(f"experiments.tables.{name}").TABLE
