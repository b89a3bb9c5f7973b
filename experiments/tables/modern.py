"""What is common since the paper, one thing on top of the other, on a held-out part of training."""

from experiments.table import Row, Table

ADDITIONS = (
    ("cosine, Nesterov", {"schedule.kind": "cosine", "optimizer.nesterov": True}),
    ("L2 of 5e-4", {"optimizer.weight_decay": 5e-4}),
    ("label smoothing", {"train.label_smoothing": 0.1}),
    ("CutMix", {"augment.cutmix": 1.0}),
    ("average of weights", {"train.average_decay": 0.999}),
)


def _rows(additions):
    rows, fields = [Row("the paper's recipe", {"model.name": "rir18_wide"})], {}
    for label, more in additions:
        fields |= more
        rows.append(Row(f"+ {label}", {"model.name": "rir18_wide", **fields}))
    return tuple(rows)


TABLE = Table(
    name="modern",
    title="From the paper's recipe to configs/cifar10_rir18_wide_modern.py, on a held-out tenth",
    fields={"dataset.validation_fraction": 0.1},
    rows=_rows(ADDITIONS),
    note="Never on the test set. Not in the paper. Each row keeps what the rows above it added.",
)
