"""The L2 penalty, with the partial identity taken off before it or left in."""

from experiments.table import Row, Table

TABLE = Table(
    name="l2",
    title="The L2 penalty, with the partial identity taken off or not",
    rows=tuple(
        Row(
            f"{family}, {words}",
            {"model.name": f"{name}32", "optimizer.decay_identity": decayed},
        )
        for family, name in (("ResNet Init", "resnet_init"), ("RiR", "rir"))
        for words, decayed in (("taken off", False), ("left in", True))
    ),
)
