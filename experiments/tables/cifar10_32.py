"""The four families at the size of He et al.'s ResNet-32, on CIFAR-10."""

from experiments.table import Paper, Row, Table

TABLE = Table(
    name="cifar10_32",
    title="CIFAR-10, 32 layers",
    rows=(
        Row("CNN", {"model.name": "cnn32"}),
        Row(
            "ResNet",
            {"model.name": "resnet32"},
            Paper(92.49, "A", "He et al.'s figure, as the paper cites it"),
        ),
        Row("ResNet Init", {"model.name": "resnet_init32"}),
        Row("RiR", {"model.name": "rir32"}),
    ),
)
