"""The residual block that all four families are stacks of."""

from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax

from rir_jax.models import streams
from rir_jax.models.layers import relu

OUTER_SHORTCUTS = ("pre_relu", "pre_norm", "post_relu", "none")


class ResidualBlock(nn.Module):
    """Layers of convolution, batch norm and ReLU, with an outer shortcut around them all.

    With ordinary convolutions this is He et al.'s block. With generalized ones it is the paper's
    Fig. 1d, whose outer shortcut runs along the residual stream. Without the outer shortcut it is
    a part of a CNN or of a ResNet Init. ``[N, H, W, C]`` to ``[N, H / s, W / s, features]``.

    Attributes:
      features: number of output channels, both streams together.
      layers: number of layers in the block.
      conv: function ``(features, strides=, name=)`` that makes the convolution of a layer.
      projection: the same for the 1x1 convolution of a projected outer shortcut.
      norm: function ``(name=)`` that makes a batch norm.
      stride: stride of the block.
      stride_layer: the layer that has the stride, "first" or "last".
      two_streams: whether the channels are ``[r; t]``.
      shortcut: kind of outer shortcut where the shape changes, "zero_pad" or "projection".
      outer_shortcut: place where the shortcut is added: "pre_relu" (between the last batch norm and
        its ReLU, as in He et al.), "pre_norm" (before that batch norm), "post_relu", or "none".
    """

    features: int
    layers: int
    conv: Callable[..., nn.Module]
    projection: Callable[..., nn.Module]
    norm: Callable[..., nn.Module]
    stride: int = 1
    stride_layer: str = "first"
    two_streams: bool = False
    shortcut: str = "zero_pad"
    outer_shortcut: str = "pre_relu"

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        skip: Any = None if self.outer_shortcut == "none" else self.outer_shortcut_of(x)
        strided = 1 if self.stride_layer == "first" else self.layers
        for layer in range(1, self.layers + 1):
            stride = self.stride if layer == strided else 1
            joins = self.outer_shortcut if layer == self.layers else "none"
            x = self.conv(self.features, strides=stride, name=f"conv{layer}")(x)
            if joins == "pre_norm":
                x = x + skip
            x = self.norm(name=f"norm{layer}")(x)
            if joins == "pre_relu":
                x = x + skip
            x = relu(x)
            if joins == "post_relu":
                x = x + skip
        return x

    def outer_shortcut_of(self, x: jax.Array) -> jax.Array:
        """The outer shortcut of the block's input ``x``: ``[N, H / s, W / s, features]``."""
        width_in, width_out = x.shape[-1], self.features
        if self.two_streams:  # along the residual stream alone
            width_in, width_out = streams.stream_width(width_in), streams.stream_width(width_out)
        changes = self.stride != 1 or width_in != width_out
        if self.shortcut == "projection" and changes:
            project = self.projection(width_out, strides=self.stride, name="projection")
            return streams.padded_shortcut(project(x[..., :width_in]), self.features)
        return streams.padded_shortcut(x, self.features, self.stride, channels=width_in)
