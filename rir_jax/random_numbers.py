"""The random numbers of runs, which do not depend on JAX's default generator."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

_FLAG = "jax_threefry_partitionable"


def key(seed: Any) -> jax.Array:
    """The key of a seed, for JAX's own generator, Threefry. Traceable.

    Threefry draws the same numbers on every device and however arrays are split, which other
    generators (``jax_default_prng_impl``) do not promise.
    """
    return jax.random.key(seed, impl="threefry2x32")


def signature() -> dict[str, Any]:
    """Some numbers and their source, which show whether a run goes on with the same generator.

    Examples:
      >>> signature()["numbers"]
      [4070199207, 4202968722]
    """
    return {
        "numbers": np.asarray(jax.random.bits(key(0), (2,), jnp.uint32)).tolist(),
        "jax": jax.__version__,
        _FLAG: getattr(jax.config, _FLAG),
    }
