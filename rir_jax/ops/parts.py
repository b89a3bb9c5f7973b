"""Work on a batch in equal parts, one after the other, so that each part stays in the cache."""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from rir_jax.ops.bilinear import varying_alike


def of_at_least(elements: int, shape: Sequence[int]) -> int:
    """The most parts of a batch ``[N, H, W, C]`` that hold ``elements`` numbers each, or more.

    A part holds whole images, one or more.

    Examples:
      >>> of_at_least(2**13, (128, 8, 8, 64)), of_at_least(2**20, (128, 8, 8, 64))
      (64, 1)
    """
    batch, height, width, channels = shape
    parts = max(1, batch // max(1, elements // (height * width * channels)))
    while batch % parts:
        parts -= 1
    return parts


def of_at_most(elements: int, shape: Sequence[int]) -> int:
    """The fewest parts of a batch ``[N, H, W, C]`` that hold ``elements`` numbers each, or fewer.

    Examples:
      >>> of_at_most(2**18, (128, 8, 8, 64)), of_at_most(2**20, (128, 8, 8, 64))
      (2, 1)
    """
    batch, height, width, channels = shape
    parts = min(batch, -(-batch * height * width * channels // elements))
    while batch % parts:
        parts += 1
    return parts


def split(array: jax.Array, parts: int) -> jax.Array:
    """Reshapes ``[N, ...]`` to ``[parts, N / parts, ...]``."""
    return array.reshape(parts, array.shape[0] // parts, *array.shape[1:])


def sum_over_parts(function: Callable[..., Any], parts: int, *arrays: jax.Array) -> Any:
    """The sum of ``function``, an array or a tree of them, over the parts of the arrays."""
    if parts == 1:
        return function(*arrays)
    by_part = [split(array, parts) for array in arrays]
    shapes = jax.eval_shape(function, *(array[0] for array in by_part))

    def zeros(like):
        return varying_alike(jnp.zeros(like.shape, like.dtype), arrays[0])[0]

    def add_part(totals, part):
        return jax.tree.map(jnp.add, totals, function(*part)), None

    return lax.scan(add_part, jax.tree.map(zeros, shapes), by_part)[0]
