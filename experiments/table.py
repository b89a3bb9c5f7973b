"""What a table or figure is: rows of config fields, and what the paper reports for them."""

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
    """A figure that the paper reports.

    Attributes:
      accuracy: on the test set, in percent.
      sure: "A" (its abstract, captions or a quotation), "B" (two who implemented or summarized it
        independently) or "C" (remembered or inferred, not to be taken for the paper's).
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
      at: by scale ("small", "medium"), fields that replace those above.
    """

    label: str
    fields: dict[str, Any]
    paper: Paper | None = None
    at: dict[str, dict[str, Any]] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class Table:
    """A table or figure.

    Attributes:
      name: what ``--table`` takes.
      title: for people.
      rows: in the order of the report.
      fields: of the config that all rows share.
      at: by scale, fields that replace those above and the scale's own; see `SCALES`.
      rows_at: by scale, labels of the rows that are run there; all where a scale is not named.
      figure: what is drawn beside the curves: "depth", "ablation" or nothing.
      note: what a reader of the report must know.
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
        """This table with other fields over all rows, as ``--set`` gives them.

        Unless they change no result, it says so, and claims nothing of the paper.
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
        """The rows of some labels, in that order; all rows for no labels.

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
          InputError: a field that is unknown or a value that is not allowed.
        """
        return configs.from_flat({**self.fields, **row.fields})


@dataclasses.dataclass(frozen=True)
class Scale:
    """A size of the experiments that a CPU can do, with networks of 32 layers.

    Attributes:
      fields: of the config that it changes.
      meaning: what its results say and do not say.
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
    """Of a config's runs: rows of the same config, in whatever table, share their runs.

    The model's name, and a digest of the fields that are not at their defaults, but for the seeds
    and those that change no result; the network's as they are once those left unset are filled in.
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
    """In words: what is trained on, and what is measured on."""
    train, test = fields.get("dataset.num_train"), fields.get("dataset.num_test")
    fraction = fields.get("dataset.validation_fraction", 0)
    if train is None:
        return f"all images but {100 * fraction:g} % held out" if fraction else "all images"
    validation = round(train * fraction)
    if validation:
        return f"about {train - validation:,} training and {validation:,} validation images"
    return f"{train:,} training and {test:,} test images"


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
