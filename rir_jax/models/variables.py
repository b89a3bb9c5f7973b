"""Whether variables are those of a network: asked before they are folded or rearranged."""

from typing import Any

import flax.traverse_util
import jax
import jax.numpy as jnp

from rir_jax.models.network import Network


def variable_shapes(model: Network, channels: int = 3) -> dict[str, Any]:
    """Shapes and types of a network's variables, for images of so many channels."""
    images = jax.ShapeDtypeStruct((1, 8, 8, channels), jnp.dtype(model.dtype))
    return jax.eval_shape(model.init, jax.random.key(0), images)


def check_variables(model: Network, variables: Any) -> None:
    """Raises a ValueError that names the first entry in which variables are not a network's.

    Args:
      model: whose variables they should be.
      variables: ``{"params": ..., "batch_stats": ...}``; other collections are not looked at.
    """
    found = {}
    for collection in ("params", "batch_stats"):
        if collection not in variables:
            raise ValueError(f"variables have no {collection!r}; allowed: what model.init returns")
        found |= flax.traverse_util.flatten_dict({collection: variables[collection]}, sep="/")
    stem = found.get("params/stem_conv/kernel")
    channels = stem.shape[2] if jnp.ndim(stem) == 4 else 3
    expected = flax.traverse_util.flatten_dict(variable_shapes(model, channels), sep="/")
    problem = first_difference(
        {name: jnp.shape(value) for name, value in found.items()},
        {name: value.shape for name, value in expected.items()},
    )
    if problem:
        raise ValueError(f"variables are not this network's: {problem}")


def first_difference(found: dict[str, tuple], expected: dict[str, tuple]) -> str | None:
    """The first entry that is missing, not expected, or of another shape, in words.

    >>> first_difference({"a": (1, 2)}, {"a": (2, 1)})
    "'a' has shape (1, 2); allowed: (2, 1)"
    """
    missing = [name for name in expected if name not in found]
    if missing:
        return f"{missing[0]!r} is missing ({len(missing)} in all)"
    extra = [name for name in found if name not in expected]
    if extra:
        return f"{extra[0]!r} is not expected ({len(extra)} in all)"
    for name, shape in expected.items():
        if tuple(found[name]) != tuple(shape):
            return f"{name!r} has shape {tuple(found[name])}; allowed: {tuple(shape)}"
    return None
