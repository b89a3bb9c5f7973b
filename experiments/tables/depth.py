"""Fig. 4: ResNet and RiR with more and more layers in each of 15 blocks."""

from experiments.table import SCALES, Row, Table

LAYERS = (2, 4, 6, 8, 10)  # the paper's values are not known to us

TABLE = Table(
    name="depth",
    title="Fig. 4: layers a block, 15 blocks",
    rows=tuple(
        Row(f"{family}, {layers}", {"model.name": name, "model.layers_per_block": layers})
        for layers in LAYERS
        for family, name in (("ResNet", "resnet32"), ("RiR", "rir32"))
    ),
    rows_at=dict.fromkeys(SCALES, ("ResNet, 2", "RiR, 2", "ResNet, 4", "RiR, 4")),
    figure="depth",
    note="The numbers of layers are ours: the paper's are not known to us.",
)
