"""The learning rate of the medium scale: the same search for RiR and ResNet, on held-out images."""

from experiments.table import Row, Table

RATES = (0.025, 0.05, 0.1)

TABLE = Table(
    name="rates",
    title="Learning rates of RiR and ResNet",
    fields={"dataset.validation_fraction": 0.1},
    rows=tuple(
        Row(f"{family}, {rate}", {"model.name": name, "optimizer.learning_rate": rate})
        for rate in RATES
        for family, name in (("ResNet", "resnet32"), ("RiR", "rir32"))
    ),
    at={"medium": {"train.epochs": 3, "schedule.milestones": (2,)}},
    note="The medium scale trains by 0.05, the best of both. Never on the test set.",
)
