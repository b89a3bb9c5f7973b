"""Techniques that have become common since the paper, each added to those before it."""

from typing import Any

from experiments.table import Row, Table

# Each technique with its fields, and with the fields that a shorter run needs at small scale.
ADDITIONS: tuple[tuple[str, dict[str, Any], dict[str, Any]], ...] = (
    ("cosine, Nesterov", {"schedule.kind": "cosine", "optimizer.nesterov": True}, {}),
    ("L2 of 5e-4", {"optimizer.weight_decay": 5e-4}, {}),
    ("label smoothing", {"train.label_smoothing": 0.1}, {}),
    ("average of weights", {"train.average_decay": 0.999}, {"train.average_decay": 0.98}),
    (
        "twice the rate after a warm-up",
        {"optimizer.learning_rate": 0.2, "schedule.warmup_epochs": 5},
        {"optimizer.learning_rate": 0.1, "schedule.warmup_epochs": 2},
    ),
    ("longer", {"train.epochs": 200}, {"train.epochs": 100}),
    ("CutMix", {"augment.cutmix": 1.0}, {}),
)

# All of them at medium scale, in as many epochs as the paper's recipe.
MEDIUM = {
    "optimizer.learning_rate": 0.1,
    "train.average_decay": 0.995,
    "schedule.warmup_epochs": 2,
    "train.epochs": 20,
}


def _rows(additions):
    rows = [Row("the paper's recipe", {"model.name": "rir18_wide"}, at={"small": {}})]
    for label, more, smaller in additions:
        fields, small = {**rows[-1].fields, **more}, {**rows[-1].at["small"], **smaller}
        rows.append(Row(f"+ {label}", fields, at={"small": small, "medium": MEDIUM}))
    return tuple(rows)


TABLE = Table(
    name="modern",
    title="From the paper's recipe to one of today",
    fields={"dataset.validation_fraction": 0.1},
    rows=_rows(ADDITIONS),
    # So few images that the network learns them by heart, as it learns the whole set at full scale:
    # a recipe's effect against overfitting shows only where a network overfits.
    at={
        "small": {
            "dataset.num_train": 2000,
            "dataset.validation_fraction": 0.5,
            "train.batch_size": 50,
            "train.epochs": 50,
            "eval.every_epochs": 10,
            "schedule.milestones": (25, 38),
        },
        # On the test set, once, beside the runs of the other tables: nothing is chosen there.
        "medium": {"dataset.validation_fraction": 0.0},
    },
    rows_at={"medium": ("the paper's recipe", "+ CutMix")},
    note=(
        "Not in the paper. Each row keeps what the rows above it added, and the last is "
        "configs/cifar10_rir18_wide_modern.py (longer: 200 epochs, at small scale 100, at medium "
        "scale no longer). Only the medium scale, where nothing is chosen, looks at the test set."
    ),
)

# The row with all of them, for the tables that report on the test set.
MODERN = Row(
    "RiR, recipe of today",
    TABLE.rows[-1].fields,
    at={
        "small": {
            "optimizer.learning_rate": 0.1,
            "schedule.warmup_epochs": 1,
            "train.average_decay": 0.9,
            "train.epochs": 8,
        },
        "medium": MEDIUM,
    },
)
