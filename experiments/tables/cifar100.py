"""The four families at the paper's best size, on CIFAR-100."""

from experiments.table import Paper, Row, Table
from experiments.tables.modern import MODERN

TABLE = Table(
    name="cifar100",
    title="CIFAR-100, 18-layer + wide",
    fields={"dataset.name": "cifar100"},
    rows=(
        Row("CNN", {"model.name": "cnn18_wide"}, Paper(75.17, "C")),
        Row("ResNet", {"model.name": "resnet18_wide"}, Paper(76.58, "B")),
        Row("ResNet Init", {"model.name": "resnet_init18_wide"}, Paper(75.99, "C")),
        Row("RiR", {"model.name": "rir18_wide"}, Paper(77.10, "A")),
        MODERN,
    ),
    note="The last row is not the paper's: configs/cifar10_rir18_wide_modern.py.",
)
