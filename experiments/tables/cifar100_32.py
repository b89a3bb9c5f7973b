"""The four families at the size of He et al.'s ResNet-32, on CIFAR-100."""

from experiments.table import Row, Table

TABLE = Table(
    name="cifar100_32",
    title="CIFAR-100, 32 layers",
    fields={"dataset.name": "cifar100"},
    rows=(
        Row("CNN", {"model.name": "cnn32"}),
        Row("ResNet", {"model.name": "resnet32"}),
        Row("ResNet Init", {"model.name": "resnet_init32"}),
        Row("RiR", {"model.name": "rir32"}),
    ),
)
