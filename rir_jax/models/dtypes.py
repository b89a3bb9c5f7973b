"""Types that are found by promotion on purpose, which strict promotion does not forbid."""

from typing import Any

import flax.linen.dtypes
import jax
import jax.numpy as jnp


def promoted(*types: Any) -> Any:
    """The type that holds the numbers of all of these types.

    Examples:
      >>> promoted(jnp.bfloat16, jnp.float16, jnp.float32)
      dtype('float32')
    """
    with jax.numpy_dtype_promotion("standard"):
        return jnp.result_type(*types)


def promote_dtype(*arrays: Any, dtype: Any = None) -> list[Any]:
    """``flax.linen.dtypes.promote_dtype``: arrays (or None) in ``dtype``, or in one that holds all.

    Examples:
      >>> x, y, _ = promote_dtype(jnp.zeros(3, jnp.bfloat16), jnp.zeros(2), None)
      >>> x.dtype, y.dtype
      (dtype('float32'), dtype('float32'))
    """
    with jax.numpy_dtype_promotion("standard"):
        return flax.linen.dtypes.promote_dtype(*arrays, dtype=dtype)
