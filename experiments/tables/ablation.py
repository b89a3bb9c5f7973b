"""Fig. 3: the accuracy of a trained RiR and ResNet Init with one stream zeroed."""

from experiments.table import Row, Table

TABLE = Table(
    name="ablation",
    title="Fig. 3: ablating each stream",
    rows=(
        Row("RiR", {"model.name": "rir18_wide"}),
        Row("ResNet Init", {"model.name": "resnet_init18_wide"}),
    ),
    figure="ablation",
    note="The paper's procedure is not known to us; ours zeroes one stream at one block's output.",
)
