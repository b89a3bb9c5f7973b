"""Types that are found by promotion on purpose, which strict promotion does not forbid."""

from typing import Any

import jax
import jax.numpy as jnp


def promoted(*types: Any) -> Any:
    """The type that holds the numbers of all of these types.

    >>> promoted(jnp.bfloat16, jnp.float16, jnp.float32)
    dtype('float32')
    """
    with jax.numpy_dtype_promotion("standard"):
        return jnp.result_type(*types)
