"""Inference as a chain of plain layers: one convolution, a bias and a ReLU each.

Batch norm with running statistics is an affine map of each channel, ``a * x + b`` with
``a = scale / sqrt(var + epsilon)`` and ``b = bias - a * mean``, so it goes into the kernel
and the bias of the convolution before it; so does the shortcut of a generalized layer, which
is a part of its applied kernel anyway. Of the outer shortcut of a block, this much can be
folded:

| outer shortcut | one layer in the block        | more layers                                  |
|----------------|-------------------------------|----------------------------------------------|
| "none"         | nothing to fold               | nothing to fold                              |
| "pre_relu"     | into the kernel               | an addition before the last ReLU             |
| "pre_norm"     | into the kernel               | the same, times ``a`` of the last batch norm |
| "post_relu"    | an addition after the ReLU    | an addition after the last ReLU              |

It remains an addition wherever a ReLU lies between its two ends, for what it carries is not
what the last convolution reads. Where it is a projection, that is a 1x1 convolution of its own.
"""

from functools import partial
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from rir_jax.models import streams
from rir_jax.models.blocks import ResidualBlock, projection_conv
from rir_jax.models.layers import Conv, relu
from rir_jax.models.network import Network, check_images
from rir_jax.models.variables import check_variables


def fold(model: Network, variables: Any) -> tuple["PlainNetwork", dict[str, Any]]:
    """A network for inference alone, without batch norm, that gives the same logits.

    Args:
      model: a network of any family.
      variables: its "params" and "batch_stats". Arrays or tracers: folding may be part of a
        jitted function, or mapped over the seeds of a table.

    Returns:
      ``plain``, a linen module from images ``[N, H, W, C]`` to the logits that ``model`` gives
      (to 1e-5 of the largest in float32), and its variables, ``{"params": ...}``.

    Raises:
      ValueError: the variables are not the model's; names the first that differs.

    >>> import rir_jax
    >>> model = rir_jax.create_model("rir32", widths=(16,), blocks=(1,))
    >>> images = jnp.ones((2, 8, 8, 3))
    >>> variables = jax.jit(model.init)(jax.random.key(0), images)
    >>> plain, folded = rir_jax.fold(model, variables)
    >>> jax.jit(plain.apply)(folded, images).shape
    (2, 10)
    """
    check_variables(model, variables)
    params, stats = variables["params"], variables["batch_stats"]
    plain = PlainNetwork(**{name: getattr(model, name) for name in _FIELDS})
    affine = partial(_affine, epsilon=model.norm_epsilon)
    folded = {
        "stem_conv": _folded(params["stem_conv"], affine(params["stem_norm"], stats["stem_norm"]))
    }
    for name in params:
        if name.startswith("stage"):
            folded[name] = _fold_block(plain, params[name], stats[name], affine)
    if model.head == "dense":
        folded["head_dense"] = params["head_dense"]
    else:
        norm = affine(params["head_norm"], stats["head_norm"])
        folded["head_conv"] = _folded(params["head_conv"], norm)
    return plain, {"params": folded}


class PlainNetwork(nn.Module):
    """What `fold` makes of a `Network`: convolutions with biases, ReLUs and outer shortcuts.

    ``images [N, H, W, C]``, floating, to logits ``[N, num_classes]``, float32 or wider. The
    fields are those of the `Network`.

    Raises:
      ValueError, TypeError: images that the network does not take.
    """

    num_classes: int
    two_streams: bool
    outer_shortcut: str
    stem_width: int
    widths: tuple[int, ...]
    blocks: tuple[int, ...]
    layers_per_block: int
    shortcut: str
    stride_layer: str
    head: str
    head_relu: bool
    dtype: Any
    param_dtype: Any

    @nn.compact
    def __call__(self, images: jax.Array) -> jax.Array:
        check_images(self, images)
        wide = jnp.promote_types(self.dtype, jnp.float32)
        conv = partial(Conv, use_bias=True, param_dtype=self.param_dtype)
        x = relu(conv(self.stem_width, dtype=self.dtype, name="stem_conv")(images))
        for stage, (width, blocks) in enumerate(zip(self.widths, self.blocks, strict=True), 1):
            for block in range(1, blocks + 1):
                x = PlainBlock(
                    width,
                    self.layers_per_block,
                    conv=partial(conv, dtype=self.dtype),
                    projection=partial(
                        projection_conv, dtype=self.dtype, param_dtype=self.param_dtype
                    ),
                    stride=2 if stage > 1 and block == 1 else 1,
                    stride_layer=self.stride_layer,
                    two_streams=self.two_streams,
                    shortcut=self.shortcut,
                    outer_shortcut=_added_shortcut(self),
                    name=f"stage{stage}_block{block}",
                )(x)
        if self.head == "dense":
            x = jnp.mean(x, axis=(1, 2), dtype=wide)
            return nn.Dense(
                self.num_classes, dtype=wide, param_dtype=self.param_dtype, name="head_dense"
            )(x)
        x = conv(self.num_classes, kernel_size=1, dtype=wide, name="head_conv")(x)
        return jnp.mean(relu(x) if self.head_relu else x, axis=(1, 2))


_FIELDS = tuple(
    name for name in PlainNetwork.__dataclass_fields__ if name not in ("parent", "name")
)


class PlainBlock(ResidualBlock):
    """A `ResidualBlock` of plain layers: all folded, but an outer shortcut that is an addition.

    ``outer_shortcut`` is "none" where there is none or it was folded.
    """

    norm: Any = None

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        skip: Any = None if self.outer_shortcut == "none" else self.outer_shortcut_of(x)
        if self.outer_shortcut == "pre_norm":
            scale = self.param("shortcut_scale", nn.initializers.ones, (self.features,))
            skip = skip * scale.astype(skip.dtype)
        strided = 1 if self.stride_layer == "first" else self.layers
        for layer in range(1, self.layers + 1):
            stride = self.stride if layer == strided else 1
            x = self.conv(self.features, stride=stride, name=f"conv{layer}")(x)
            if layer == self.layers and self.outer_shortcut in ("pre_relu", "pre_norm"):
                x = x + skip
            x = relu(x)
        return x + skip if self.outer_shortcut == "post_relu" else x


def _added_shortcut(network):
    """The outer shortcut that remains: the only layer of a block takes it into its kernel."""
    folds = network.layers_per_block == 1 and network.outer_shortcut in ("pre_relu", "pre_norm")
    return "none" if folds else network.outer_shortcut


def _affine(params, stats, epsilon):
    """Batch norm with running statistics as ``a * x + b``: a and b, ``[C]``."""
    scale = params["scale"] * jax.lax.rsqrt(stats["var"] + epsilon)
    return scale, params["bias"] - scale * stats["mean"]


def _folded(conv, affine, shortcut=0):
    """A convolution, its kernel and a shortcut's added up, followed by an affine map."""
    scale, shift = affine
    return {
        "kernel": (conv["kernel"] + shortcut) * scale,
        "bias": conv.get("bias", 0) * scale + shift,
    }


def _fold_block(plain, params, stats, affine):
    folded = {}
    for layer in range(1, plain.layers_per_block + 1):
        conv, norm = params[f"conv{layer}"], affine(params[f"norm{layer}"], stats[f"norm{layer}"])
        shortcut = 0
        if plain.two_streams:
            shortcut = streams.shortcut_kernel(conv["kernel"], conv.get("projection"))
        folded[f"conv{layer}"] = _folded(conv, norm, shortcut)
    scale, added = norm[0], _added_shortcut(plain)
    if added == "pre_norm":
        folded["shortcut_scale"] = scale
    if added != "none" and "projection" in params:
        folded["projection"] = params["projection"]
    if added != plain.outer_shortcut:
        outer = _outer_shortcut_kernel(plain, params)
        folded["conv1"]["kernel"] += outer * scale if plain.outer_shortcut == "pre_norm" else outer
    return folded


def _outer_shortcut_kernel(plain, params):
    """The outer shortcut of a block of one layer, as a kernel to add to that layer's."""
    kernel = params["conv1"]["kernel"]
    if "projection" in params:
        matrix = params["projection"]["kernel"][0, 0]
    else:
        of_stream = 2 if plain.two_streams else 1
        matrix = jnp.eye(*(size // of_stream for size in kernel.shape[-2:]), dtype=kernel.dtype)
    return streams.at_centre(matrix, kernel.shape)
