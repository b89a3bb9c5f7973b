"""The networks of other public implementations of RiR, as overrides for `create_model` and configs.

Implementations differ where the paper is silent. With these overrides,
``create_model("rir18_wide", ...)`` makes another implementation's network. They are config fields
too: ``--config.model.outer_shortcut=none`` and so on.
"""

PYTORCHCV = {
    "outer_shortcut": "none",
    "shortcut": "projection",
    "stride_layer": "first",
    "head": "conv",
    "head_relu": False,
    "use_bias": False,
}
"""pytorchcv (PyTorch). It has no outer shortcut, so it is a ResNet Init in the paper's terms.

Examples:
  >>> import rir_jax
  >>> model = rir_jax.create_model("rir18_wide", num_classes=100, **PYTORCHCV)
"""

NUTSZEBRA = {
    "outer_shortcut": "post_relu",
    "shortcut": "zero_pad",
    "stride_layer": "last",
    "head": "conv",
    "head_relu": True,
    "use_bias": True,
}
"""nutszebra (Chainer). It adds the outer shortcut after the last ReLU of a block.

Each of the four convolutions of its layer has a bias. Two of them add up in each stream, so here
they are one bias that computes the same. (A batch norm follows, so biases get no gradient.)
"""

WEIAICUNZAI = {
    "outer_shortcut": "none",
    "shortcut": "projection",
    "stride_layer": "first",
}
"""weiaicunzai (PyTorch), whose outer shortcut is commented out. These overrides make the body.

Its head, a strided 3x3 convolution and two dense layers, does not exist here.
"""
