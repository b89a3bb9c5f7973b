"""What the layers refuse: fields out of range, and inputs that they cannot take."""

import contextlib
from typing import Any

import jax
import jax.numpy as jnp
from flax.linen.linear import canonicalize_padding

from rir_jax.models import streams
from rir_jax.models.fields import is_positive, refuse

SHORTCUTS = ("zero_pad", "projection")
AXES = "DHW"
"""The spatial axes; a layer with fewer has the last ones."""


def check_conv(layer: Any) -> None:
    """Checks the fields of a convolution; raises a ValueError that names the first wrong one."""
    if not is_positive(layer.features):
        refuse(layer, "features", "a whole number of 1 or more")
    for field in ("kernel_size", "strides"):
        value = getattr(layer, field)
        optional = value is None and field == "strides"
        numbers = value if isinstance(value, list | tuple) else (value,)
        if not optional and not (numbers and all(map(is_positive, numbers))):
            refuse(layer, field, "a whole number of 1 or more, or one for each spatial axis")
    window, steps = layer.window, layer.steps
    if len(window) > len(AXES) or not all(size % 2 for size in window):
        refuse(layer, "kernel_size", "odd, for 1 to 3 spatial axes (a kernel has a centre)")
    if len(steps) != len(window):
        refuse(layer, "strides", f"one number, or {len(window)} as kernel_size has")
    _check_padding(layer)


def _check_padding(layer):
    padding = layer.padding
    if padding is None or (padding == "SAME" and max(layer.steps) == 1):
        return
    with contextlib.suppress(TypeError, ValueError):
        if tuple(canonicalize_padding(padding, len(layer.window))) == layer.pads:
            return
    refuse(
        layer,
        "padding",
        f"{layer.pads}, half of the kernel on every side, which is the default (at a stride above "
        '1, "SAME" pads one side alone, and the shortcut would read the wrong pixels)',
    )


def check_generalized(layer: Any) -> None:
    """Checks the fields that generalized layers have beside those of ordinary ones."""
    if layer.shortcut not in SHORTCUTS:
        refuse(layer, "shortcut", ", ".join(map(repr, SHORTCUTS)))
    if not is_positive(layer.features) or layer.features % 2:
        refuse(layer, "features", "an even number of 2 or more, for two streams of equal width")


def check_streams(layer: Any, x: jax.Array) -> None:
    """Raises an error for an input without two streams, or with streams that would narrow."""
    width = streams.stream_width(x.shape[-1])
    if layer.shortcut == "zero_pad" and x.shape[-1] > layer.features:
        raise ValueError(
            f"features is {layer.features}, two streams of {layer.features // 2}, for an input of "
            f"two streams of {width}; allowed with shortcut='zero_pad': no narrower than the input"
        )


def check_array(layer: Any, x: jax.Array, what: str, allowed: bool) -> None:
    """Raises an error for an input of a shape that is not allowed, or of no floating type."""
    if not allowed:
        raise ValueError(f"{type(layer).__name__} got an input of shape {x.shape}; allowed: {what}")
    if not jnp.issubdtype(x.dtype, jnp.floating):
        raise TypeError(f"{type(layer).__name__} got {x.dtype}; allowed: a floating type")
