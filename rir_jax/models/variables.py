"""Checks that variables belong to a network, before they are folded or rearranged."""

from typing import Any

import jax
import jax.numpy as jnp
from flax.traverse_util import flatten_dict

from rir_jax.models.network import Network


def variable_shapes(model: Network, channels: int = 3) -> dict[str, Any]:
    """Shapes and types of a network's variables, for images of ``channels`` channels."""
    images = jax.ShapeDtypeStruct((1, 8, 8, channels), model.dtype_for(model.param_dtype))
    return jax.eval_shape(model.init, jax.random.key(0), images)


def check_variables(model: Network, variables: Any) -> None:
    """Checks that variables have the names and shapes of a network's.

    Args:
      model: the network.
      variables: ``{"params": ..., "batch_stats": ...}``; other collections are ignored.

    Raises:
      ValueError: they have not; names the first entry that differs.
    """
    found: dict[str, Any] = {}
    for collection in ("params", "batch_stats"):
        if collection not in variables:
            raise ValueError(f"variables have no {collection!r}; allowed: what model.init returns")
        found |= flatten_dict({collection: variables[collection]}, sep="/")
    stem: tuple[int, ...] = getattr(found.get("params/stem_conv/kernel"), "shape", ())
    channels = stem[2] if len(stem) == 4 else 3
    expected = flatten_dict(variable_shapes(model, channels), sep="/")
    problem = differences(
        {name: jnp.shape(value) for name, value in found.items()},
        {name: value.shape for name, value in expected.items()},
    )
    if problem:
        raise ValueError(f"variables are not this network's: {problem}")


def differences(found: dict[str, tuple], expected: dict[str, tuple]) -> str:
    """The first missing entry, the first unexpected one and the first of another shape, in words.

    Examples:
      >>> differences({"a": (1, 2), "b": (3,)}, {"a": (2, 1), "c": (3,)})
      "'c' is missing; 'b' is not expected; 'a' has shape (1, 2), allowed: (2, 1)"
      >>> differences({"a": (1,)}, {"a": (1,)})
      ''
    """
    missing = [f"{name!r} is missing" for name in expected if name not in found]
    extra = [f"{name!r} is not expected" for name in found if name not in expected]
    misshaped = [
        f"{name!r} has shape {tuple(found[name])}, allowed: {tuple(shape)}"
        for name, shape in expected.items()
        if name in found and tuple(found[name]) != tuple(shape)
    ]
    return "; ".join(_first_of(problems) for problems in (missing, extra, misshaped) if problems)


def _first_of(problems):
    return problems[0] + (f" (and {len(problems) - 1} more)" if len(problems) > 1 else "")
