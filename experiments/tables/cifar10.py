"""The four families at the paper's best size, on CIFAR-10."""

from experiments.table import Paper, Row, Table
from experiments.tables.modern import MODERN

TABLE = Table(
    name="cifar10",
    title="CIFAR-10, 18-layer + wide",
    rows=(
        Row("CNN", {"model.name": "cnn18_wide"}, Paper(93.64, "C")),
        Row("ResNet", {"model.name": "resnet18_wide"}, Paper(93.95, "B")),
        Row("ResNet Init", {"model.name": "resnet_init18_wide"}, Paper(94.28, "C")),
        Row("RiR", {"model.name": "rir18_wide"}, Paper(94.99, "A")),
        MODERN,
    ),
    note="The last row is not the paper's: configs/cifar10_rir18_wide_modern.py.",
)
