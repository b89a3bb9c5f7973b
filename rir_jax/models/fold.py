"""Inference as a chain of plain layers: one convolution, a bias and a ReLU each.

Batch norm with running statistics is an affine map of each channel, ``a * x + b`` with
``a = scale / sqrt(var + epsilon)`` and ``b = bias - a * mean``, so it goes into the kernel and the
bias of the convolution before it. The shortcut of a generalized layer is a part of its applied
kernel already. The outer shortcut of a block can be folded as follows:

| outer shortcut | one layer in the block        | more layers                                  |
|----------------|-------------------------------|----------------------------------------------|
| "none"         | nothing to fold               | nothing to fold                              |
| "pre_relu"     | into the kernel               | an addition before the last ReLU             |
| "pre_norm"     | into the kernel               | the same, times ``a`` of the last batch norm |
| "post_relu"    | an addition after the ReLU    | an addition after the last ReLU              |

It remains an addition wherever a ReLU lies between its two ends, because the last convolution does
not read what it carries. A projection then remains a 1x1 convolution of its own.
"""

from functools import partial
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from rir_jax.models import streams
from rir_jax.models.blocks import ResidualBlock
from rir_jax.models.dtypes import promoted
from rir_jax.models.layers import Conv
from rir_jax.models.network import Network, Parts
from rir_jax.models.variables import check_variables
from rir_jax.models.zoo import FIELDS


def fold(model: Network, variables: Any) -> tuple["PlainNetwork", dict[str, Any]]:
    """A network for inference alone, without batch norm, that gives the same logits.

    Args:
      model: a network of any family.
      variables: the "params" and "batch_stats" of the network, arrays or tracers: folding may be
        part of a jitted function, or mapped over the seeds of a table.

    Returns:
      ``plain``, a linen module from images ``[N, H, W, C]`` to the logits of ``model`` (to 1e-5 of
      the largest in float32), and the variables of ``plain``, ``{"params": ...}``.

    Raises:
      ValueError: the variables belong to another network; names the first that differs.

    Examples:
      >>> import rir_jax
      >>> model = rir_jax.create_model("rir32", widths=(16,), blocks=(1,))
      >>> images = jnp.ones((2, 8, 8, 3))
      >>> variables = jax.jit(model.init)(jax.random.key(0), images)
      >>> plain, folded = rir_jax.fold(model, variables)
      >>> jax.jit(plain.apply)(folded, images).shape
      (2, 10)
    """
    check_variables(model, variables)
    fields = {name: getattr(model, name) for name in ("num_classes", *FIELDS)}
    if model.layers_per_block == 1 and model.outer_shortcut in ("pre_relu", "pre_norm"):
        fields["outer_shortcut"] = "none"  # part of the kernel of a block's only layer
    plain = PlainNetwork(**fields)
    return plain, _fold_variables(model, plain, variables["params"], variables["batch_stats"])


@partial(jax.jit, static_argnums=(0, 1))  # one program: alone, each operation compiles its own
def _fold_variables(model, plain, params, stats):
    of_norm = partial(affine, epsilon=model.norm_epsilon)
    norm = of_norm(params["stem_norm"], stats["stem_norm"])
    folded = {"stem_conv": folded_conv(params["stem_conv"], norm)}
    for name in params:
        if name.startswith("stage"):
            folded[name] = _fold_block(model, plain, params[name], stats[name], of_norm)
    if model.head == "dense":
        folded["head_dense"] = params["head_dense"]
    else:
        norm = of_norm(params["head_norm"], stats["head_norm"])
        folded["head_conv"] = folded_conv(params["head_conv"], norm)
    return {"params": folded}


class PlainNetwork(Network):
    """A folded `Network`: convolutions with biases, ReLUs and outer shortcuts; see `fold`.

    ``images [N, H, W, C]``, floating, to logits ``[N, num_classes]``, float32 or wider. The fields
    are those of the `Network`, except that ``outer_shortcut`` is "none" where it was folded.

    Raises:
      ValueError, TypeError: as `Network`, or ``train`` is set.
    """

    def _parts(self, train, dtype):
        if train:
            raise ValueError("train is True; allowed: False, a folded network has no batch norms")
        conv = partial(Conv, use_bias=True, dtype=dtype, param_dtype=self.param_dtype)
        head_conv = partial(conv, dtype=promoted(dtype, jnp.float32))
        return Parts(conv, conv, head_conv, lambda **_: _identity, PlainBlock)


class PlainBlock(ResidualBlock):
    """A `ResidualBlock` whose batch norms are folded, and whose outer shortcut is an addition."""

    def outer_shortcut_of(self, x: jax.Array) -> jax.Array:
        skip = super().outer_shortcut_of(x)
        if self.outer_shortcut == "pre_norm":  # the batch norm after it scales it
            scale = self.param("shortcut_scale", nn.initializers.ones, (self.features,))
            skip = skip * scale.astype(skip.dtype).reshape(1, 1, 1, -1)
        return skip


def _identity(x):
    return x


def affine(params: Any, stats: Any, epsilon: float) -> tuple[jax.Array, jax.Array]:
    """The ``a`` and ``b``, ``[C]``, of a batch norm with running statistics, ``a * x + b``."""
    wide = promoted(params["scale"].dtype, stats["var"].dtype)
    scale, bias, mean, var = (
        of[name].astype(wide)
        for of, name in ((params, "scale"), (params, "bias"), (stats, "mean"), (stats, "var"))
    )
    scale = scale * jax.lax.rsqrt(var + epsilon)
    return scale, bias - scale * mean


def folded_conv(
    conv: Any, norm: tuple[jax.Array, jax.Array], shortcut: jax.Array | int = 0
) -> dict[str, jax.Array]:
    """The parameters of a convolution with a shortcut in its kernel and `affine` after it."""
    scale, shift = norm
    return {
        "kernel": (conv["kernel"] + shortcut).astype(scale.dtype) * _of_kernel(scale),
        "bias": shift + (conv["bias"].astype(scale.dtype) * scale if "bias" in conv else 0),
    }


def _of_kernel(scale):
    return scale.reshape(1, 1, 1, -1)


def _fold_block(model, plain, params, stats, of_norm):
    folded = {}
    for layer in range(1, model.layers_per_block + 1):
        conv, norm = params[f"conv{layer}"], of_norm(params[f"norm{layer}"], stats[f"norm{layer}"])
        shortcut = 0
        if model.two_streams:
            shortcut = streams.shortcut_kernel(conv["kernel"], conv.get("projection"))
        folded[f"conv{layer}"] = folded_conv(conv, norm, shortcut)
    scale = norm[0]
    if plain.outer_shortcut == "pre_norm":
        folded["shortcut_scale"] = scale
    if plain.outer_shortcut != "none" and "projection" in params:
        folded["projection"] = params["projection"]
    if plain.outer_shortcut != model.outer_shortcut:
        outer = _outer_shortcut_kernel(model, params).astype(scale.dtype)
        if model.outer_shortcut == "pre_norm":
            outer = outer * _of_kernel(scale)
        folded["conv1"]["kernel"] += outer
    return folded


def _outer_shortcut_kernel(model, params):
    """The outer shortcut of a one-layer block, as a kernel to add to the layer's kernel."""
    kernel = params["conv1"]["kernel"]
    if "projection" in params:
        matrix = params["projection"]["kernel"][0, 0]
    else:
        of_stream = 2 if model.two_streams else 1
        matrix = jnp.eye(*(size // of_stream for size in kernel.shape[-2:]), dtype=kernel.dtype)
    return streams.at_centre(matrix, kernel.shape)
