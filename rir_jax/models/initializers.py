"""Initializers of kernels: He et al.'s, and the paper's ResNet Init."""

import math
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp

from rir_jax.models import streams


def msr(key: jax.Array, shape: Sequence[int], dtype=jnp.float32) -> jax.Array:
    """MSR (He et al.) initialization, ``(key, shape, dtype) -> array``: N(0, 2 / fan_in).

    Examples:
      >>> msr(jax.random.key(0), (3, 3, 16, 16)).std().round(2)
      Array(0.12, dtype=float32)
    """
    # Drawn flat: LLVM unrolls short axes around the generator, which takes a second to compile.
    flat = jax.random.normal(key, (math.prod(shape),), dtype)
    return flat.reshape(shape) * jnp.sqrt(jnp.array(2 / math.prod(shape[:-1]), dtype))


def resnet_init(key: jax.Array, shape: Sequence[int], dtype: Any = jnp.float32) -> jax.Array:
    """ResNet Init (paper, section 3): MSR plus a partial identity, as an initializer.

    An ordinary layer over ``[r; t]`` with this kernel starts as a generalized layer, at no cost in
    computation or parameters. Weight decay pulls its shortcut to zero; `GeneralizedConv` keeps the
    shortcut out of the parameter.

    ``nn.Dense(64, kernel_init=resnet_init)`` works as it is. `resnet_init_conv` makes an
    ``nn.Conv`` with the padding that the shortcut needs, half of the kernel on every side: at
    stride 2, Flax's default "SAME" pads one side alone, and the shortcut reads the wrong pixels.

    Args:
      key: random key.
      shape: ``(*spatial, in, out)`` with odd spatial sizes and even ``in`` <= ``out``.
      dtype: type of the kernel.

    Raises:
      ValueError: the shape does not hold two streams, narrows them, or has no centre.

    Examples:
      >>> kernel = resnet_init(jax.random.key(0), (3, 3, 4, 4))
      >>> kernel.shape
      (3, 3, 4, 4)
    """
    return streams.partial_identity(tuple(shape), dtype) + msr(key, shape, dtype)
