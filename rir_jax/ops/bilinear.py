"""Primitives for functions that are linear in each of two arrays, with their own form on CPU.

A primitive keeps such a function whole until a program is made for a platform. Its derivatives are
primitives of the same kind, so each of them has its own form on CPU too, in reverse and in forward
mode, any number of times. (`jax.custom_vjp` would suffice for gradients, but refuses forward mode.)
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import jax
from jax import lax
from jax.experimental.xla_metadata import set_xla_metadata
from jax.extend.core import Primitive
from jax.interpreters import ad, batching, mlir


def bilinear(
    name: str,
    default: Callable[..., jax.Array],
    cpu: Callable[..., jax.Array],
    fields: Sequence[str],
    images: int | None,
) -> Primitive:
    """Makes a primitive whose ``bind(a, b, **fields)`` is ``default(a, b, **fields)``.

    The result has the shape, type and sharding that ``default`` gives.

    Args:
      name: name of the primitive in the text of programs.
      default: function that computes it, except on CPU.
      cpu: function that computes it on CPU.
      fields: names of the fields.
      images: number (0 or 1) of the array whose first axis counts images and is the first axis of
        the result, or None if there is none. `jax.vmap` over this array alone then becomes one call
        with more images.
    """
    primitive = Primitive(name)

    def shape(a, b, **fields):
        return jax.make_jaxpr(partial(default, **fields))(a, b).out_avals[0]

    def batched(arrays, axes, **fields):
        if images is not None and axes[1 - images] is None:
            return _of_more_images(primitive, arrays, images, axes[images], fields), 0
        forms = {"cpu": partial(cpu, **fields), "default": partial(default, **fields)}
        return jax.vmap(lambda a, b: lax.platform_dependent(a, b, **forms), axes)(*arrays), 0

    called = jax.jit(cpu, static_argnames=fields)

    def on_cpu(a, b, **fields):
        # XLA then optimizes calls of the same shapes once, in place of a copy for each.
        return set_xla_metadata(called(a, b, **fields), inlineable="false")

    primitive.def_impl(jax.jit(primitive.bind, static_argnames=fields))
    primitive.def_abstract_eval(shape)
    batching.primitive_batchers[primitive] = batched
    mlir.register_lowering(primitive, mlir.lower_fun(default, multiple_results=False))
    mlir.register_lowering(
        primitive, mlir.lower_fun(on_cpu, multiple_results=False), platform="cpu"
    )
    return primitive


def _of_more_images(primitive, arrays, images, axis, fields):
    stacked = jax.numpy.moveaxis(arrays[images], axis, 0)
    flat = list(arrays)
    flat[images] = stacked.reshape(-1, *stacked.shape[2:])
    result = primitive.bind(*flat, **fields)
    return result.reshape(*stacked.shape[:2], *result.shape[1:])


def define_derivatives(primitive: Primitive, of_a: Any, of_b: Any) -> None:
    """Gives a primitive its transposes, and with them all its derivatives.

    Args:
      primitive: primitive that `bilinear` made.
      of_a: transpose for the first array: ``(ct, a_shape, b, **fields) -> ct_a``.
      of_b: transpose for the second array: ``(ct, a, b_shape, **fields) -> ct_b``.
    """
    ad.defbilinear(
        primitive,
        lambda ct, a, b, **fields: of_a(ct, a.aval.shape, b, **fields),
        lambda ct, a, b, **fields: of_b(ct, a, b.aval.shape, **fields),
    )


def varying_alike(a: jax.Array, b: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Makes both arrays vary along the same mesh axes, within a `jax.shard_map`.

    Where one array is the same along an axis, as a shared kernel is, its gradient is then summed
    over that axis.
    """
    of_a, of_b = (jax.typeof(array).mat.varying for array in (a, b))
    return (
        lax.pcast(a, tuple(of_b - of_a), to="varying"),
        lax.pcast(b, tuple(of_a - of_b), to="varying"),
    )
