"""The description of a table or figure: rows of config fields, with the paper's accuracies."""

import dataclasses
import hashlib
import importlib
import json
import pkgutil
from collections.abc import Sequence
from typing import Any

import ml_collections

from rir_jax import config as configs
from rir_jax import config_fields
from rir_jax.errors import InputError
from rir_jax.models.zoo import FIELDS, create_model


@dataclasses.dataclass(frozen=True)
class Paper:
    """An accuracy that the paper reports.

    Attributes:
      accuracy: the accuracy on the test set, in percent.
      sure: the source: "A" (the paper's abstract, captions or a quotation), "B" (two people who
        implemented or summarized it independently) or "C" (remembered or inferred, not to be
        taken for the paper's).
      note: the paper's own source, if the accuracy is cited.
    """

    accuracy: float
    sure: str
    note: str = ""


@dataclasses.dataclass(frozen=True)
class Row:
    """One network and recipe.

    Attributes:
      label: the row's name in the report.
      fields: the config fields that differ from the default, by path ("model.name", ...).
      paper: the accuracy that the paper reports for it.
      at: for each scale ("small", "medium"), fields that replace those above.
    """

    label: str
    fields: dict[str, Any]
    paper: Paper | None = None
    at: dict[str, dict[str, Any]] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class Table:
    """A table or figure.

    Attributes:
      name: the value of ``--table``.
      title: the title of the report.
      rows: the rows, in the order of the report.
      fields: the config fields that all rows share.
      at: for each scale, fields that replace those above and the scale's own; see `SCALES`.
      rows_at: for each scale, the labels of the rows that are run; all rows if it is not named.
      figure: the picture beside the curves: "depth", "ablation" or None.
      note: a note for the reader of the report.
    """

    name: str
    title: str
    rows: tuple[Row, ...]
    fields: dict[str, Any] = dataclasses.field(default_factory=dict)
    at: dict[str, dict[str, Any]] = dataclasses.field(default_factory=dict)
    rows_at: dict[str, tuple[str, ...]] = dataclasses.field(default_factory=dict)
    figure: str | None = None
    note: str = ""

    def at_scale(self, scale: str) -> "Table":
        """This table with the rows and fields of a scale: "full", "medium" or "small"."""
        if scale == "full":
            return self
        rows = tuple(
            dataclasses.replace(
                row, fields=_with_32_layers({**row.fields, **row.at.get(scale, {})}), paper=None
            )
            for row in self.rows
            if row.label in self.rows_at.get(scale, [row.label])
        )
        fields = {**_with_32_layers(self.fields), **SCALES[scale].fields, **self.at.get(scale, {})}
        note = (
            f"{scale.capitalize()} scale: {_split_sizes(fields)}, {fields['train.epochs']} epochs, "
            f"the sizes of ResNet-32, unless a row says otherwise. {SCALES[scale].meaning}"
        )
        return dataclasses.replace(
            self,
            title=f"{self.title}, {scale} scale",
            rows=rows,
            fields=fields,
            note=f"{note} {self.note}".strip(),
        )

    def with_fields(self, overrides: dict[str, Any]) -> "Table":
        """This table with some fields set in all rows, as ``--set`` does.

        If they change results, the title and the note say so, and the paper's figures are left out.
        """
        changes = {k: v for k, v in overrides.items() if k not in config_fields.INERT_FIELDS}
        fields = {**self.fields, **overrides}
        rows = tuple(
            dataclasses.replace(
                row, fields={**row.fields, **overrides}, paper=None if changes else row.paper
            )
            for row in self.rows
        )
        table = dataclasses.replace(self, fields=fields, rows=rows)
        if not changes:
            return table
        text = ", ".join(f"{path}={value}" for path, value in changes.items())
        return dataclasses.replace(
            table,
            title=f"{self.name}, with other fields",
            note=f"Not the table as it is defined: all rows have {text}.",
        )

    def chosen(self, labels: Sequence[str]) -> tuple[Row, ...]:
        """The rows with the given labels, in that order; all rows if there are no labels.

        Raises:
          InputError: no row has such a label.
        """
        rows = {row.label: row for row in self.rows}
        for label in labels:
            if label not in rows:
                raise InputError(
                    f"row {label!r} is not in table {self.name!r}; allowed: {', '.join(rows)}"
                )
        return tuple(rows[label] for label in labels) or self.rows

    def config(self, row: Row) -> ml_collections.ConfigDict:
        """The config of a row.

        Raises:
          InputError: a field is unknown, or a value is not allowed.
        """
        return configs.from_flat({**self.fields, **row.fields})


@dataclasses.dataclass(frozen=True)
class Scale:
    """A size of the experiments that a CPU can do, with networks of 32 layers.

    Attributes:
      fields: the config fields that the scale changes.
      meaning: a sentence on what its results show, for the report.
    """

    fields: dict[str, Any]
    meaning: str


SCALES = {
    # An hour or two of two cores a row.
    "medium": Scale(
        {
            "train.batch_size": 125,
            "train.epochs": 20,
            "optimizer.learning_rate": 0.05,
            "schedule.milestones": (10, 15),
        },
        "The paper trains longer: its figures are not to be expected.",
    ),
    # Minutes a row.
    "small": Scale(
        {
            "dataset.num_train": 5000,
            "dataset.num_test": 2000,
            "train.batch_size": 100,
            "train.epochs": 8,
            "optimizer.learning_rate": 0.05,
            "schedule.milestones": (4, 6),
        },
        "It shows an order at best; the paper's figures do not apply.",
    ),
}


def folder_name(config: ml_collections.ConfigDict) -> str:
    """The name of the folder of a config's runs, which rows of all tables with that config share.

    It is the model's name and a digest of the fields that are not at their defaults, except seeds
    and fields that change no result. Fields of the network count with their actual values, also
    those that are left unset in the config.
    """
    passed_over = ("seed", "num_seeds", *config_fields.INERT_FIELDS)
    values = {
        field: value
        for field, value in configs.flatten(config).items()
        if field not in passed_over and value != config_fields.FIELDS[field].default
    }
    network = create_model(config.model.name, **configs.model_fields(config))
    values |= {f"model.{field}": getattr(network, field) for field in FIELDS}
    content = json.dumps(values, sort_keys=True, default=str)
    return f"{config.model.name}-{hashlib.sha256(content.encode()).hexdigest()[:8]}"


def _with_32_layers(fields):
    name = fields.get("model.name", "")
    return {**fields, "model.name": name.replace("18_wide", "32")} if name else fields


def _split_sizes(fields):
    """The images that are trained and measured on, in words."""
    train, test = fields.get("dataset.num_train"), fields.get("dataset.num_test")
    fraction = fields.get("dataset.validation_fraction", 0)
    if train is None:
        return f"all images but {100 * fraction:g} % held out" if fraction else "all images"
    validation = round(train * fraction)
    if validation:
        return f"about {train - validation:,} training and {validation:,} validation images"
    return f"{train:,} training and {test:,} test images"


def list_tables() -> list[str]:
    """The names of the tables, from the files in experiments/tables."""
    from experiments import tables

    return sorted(module.name for module in pkgutil.iter_modules(tables.__path__))


def get_table(name: str) -> Table:
    """The table of a name.

    Raises:
      InputError: no table has that name.
    """
    if name not in list_tables():
        raise InputError(f"table {name!r} is unknown; allowed: {', '.join(list_tables())}")
    return importlib.import_module(f"experiments.tables.{name}").TABLE
