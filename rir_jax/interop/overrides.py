"""What the public implementations of RiR build, as overrides for `create_model` and configs.

Other implementations of the paper differ where it is silent. With these,
``create_model("rir18_wide", ...)`` is another implementation's network; as config fields,
``--config.model.outer_shortcut=none`` and so on.
"""

PYTORCHCV = {
    "outer_shortcut": "none",
    "shortcut": "projection",
    "stride_layer": "first",
    "head": "conv",
    "head_relu": False,
    "use_bias": False,
}
"""pytorchcv (PyTorch): no outer shortcut, so a ResNet Init in the paper's terms.

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
"""nutszebra (Chainer): the outer shortcut is added after the last ReLU of a block.

Each of its four convolutions of a layer has a bias. Two add up to each stream, so they are one
bias here, of the same function. (A batch norm follows, so none of them gets a gradient.)
"""

WEIAICUNZAI = {
    "outer_shortcut": "none",
    "shortcut": "projection",
    "stride_layer": "first",
}
"""weiaicunzai (PyTorch): the body alone, without the outer shortcut (there, it is commented out).

Its head, a strided 3x3 convolution and two dense layers, is not one of ours.
"""
