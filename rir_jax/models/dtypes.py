"""Deliberate type promotion, which works in JAX's strict mode too."""

from typing import Any

import flax.linen.dtypes
import jax
import jax.numpy as jnp


def promoted(*types: Any) -> Any:
    """The type that holds the numbers of all given types.

    Examples:
      >>> promoted(jnp.bfloat16, jnp.float16, jnp.float32)
      dtype('float32')
    """
    with jax.numpy_dtype_promotion("standard"):
        return jnp.result_type(*types)


def promote_dtype(*arrays: Any, dtype: Any = None) -> list[Any]:
    """Casts arrays (or None) to ``dtype``, or to the type that holds all; as Flax's function does.

    Examples:
      >>> x, y, _ = promote_dtype(jnp.zeros(3, jnp.bfloat16), jnp.zeros(2), None)
      >>> x.dtype, y.dtype
      (dtype('float32'), dtype('float32'))
    """
    with jax.numpy_dtype_promotion("standard"):
        return flax.linen.dtypes.promote_dtype(*arrays, dtype=dtype)
