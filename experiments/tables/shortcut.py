"""The choices of other implementations of the paper, each in the place of ours, one at a time."""

from experiments.table import Row, Table
from rir_jax.interop import overrides


def _row(label, **fields):
    return Row(label, {f"model.{name}": value for name, value in fields.items()})


TABLE = Table(
    name="shortcut",
    title="Shortcuts, strides and heads of the RiR",
    fields={"model.name": "rir32"},
    rows=(
        _row("ours"),
        _row("outer shortcut after the last ReLU", outer_shortcut="post_relu"),
        _row("outer shortcut before the batch norm", outer_shortcut="pre_norm"),
        _row("no outer shortcut (ResNet Init)", name="resnet_init32"),
        _row("1x1 projection where shapes change", shortcut="projection"),
        _row("stride in the last layer of a block", stride_layer="last"),
        _row("head of 1x1 convolution", head="conv"),
        _row("head of 1x1 convolution and ReLU", head="conv", head_relu=True),
        _row("biased convolutions", use_bias=True),
        _row("pytorchcv's choices together", **overrides.PYTORCHCV),
        _row("nutszebra's choices together", **overrides.NUTSZEBRA),
        _row("weiaicunzai's choices but its head", **overrides.WEIAICUNZAI),
    ),
    note=(
        "weiaicunzai's "
        "head, a strided convolution and two dense layers with dropout, is bound to 32x32 images "
        "and not among the network's."
    ),
)
