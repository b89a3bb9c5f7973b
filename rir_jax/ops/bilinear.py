"""Primitives for functions that are linear in each of two arrays, with a form of their own on CPU.

A primitive keeps such a function whole until a program is made for a platform. Its derivatives are
given as functions of the same kind, so that each of them has its own form on CPU too, in reverse
and in forward mode, any number of times. (`jax.custom_vjp` would do for gradients, but it refuses
forward mode.)
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import jax
from jax import lax
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

    The result's shape, type and sharding are those that ``default`` gives.

    Args:
      name: in the text of programs.
      default: how it is computed, except on CPU.
      cpu: how it is computed on CPU.
      fields: the names of the fields.
      images: the array (0 or 1) whose first axis is the result's, and which the other has
        nothing of, or None. Mapped over this array alone, the function is one of more images.
    """
    primitive = Primitive(name)

    def shape(a, b, **fields):
        return jax.make_jaxpr(partial(default, **fields))(a, b).out_avals[0]

    def batched(arrays, axes, **fields):
        if images is not None and axes[1 - images] is None:
            return _of_more_images(primitive, arrays, images, axes[images], fields), 0
        forms = {"cpu": partial(cpu, **fields), "default": partial(default, **fields)}
        return jax.vmap(lambda a, b: lax.platform_dependent(a, b, **forms), axes)(*arrays), 0

    primitive.def_impl(jax.jit(primitive.bind, static_argnames=fields))
    primitive.def_abstract_eval(shape)
    batching.primitive_batchers[primitive] = batched
    mlir.register_lowering(primitive, mlir.lower_fun(default, multiple_results=False))
    mlir.register_lowering(primitive, mlir.lower_fun(cpu, multiple_results=False), platform="cpu")
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
      primitive: of `bilinear`.
      of_a: ``(ct, a_shape, b, **fields) -> ct_a``.
      of_b: ``(ct, a, b_shape, **fields) -> ct_b``.
    """
    ad.defbilinear(
        primitive,
        lambda ct, a, b, **fields: of_a(ct, a.aval.shape, b, **fields),
        lambda ct, a, b, **fields: of_b(ct, a, b.aval.shape, **fields),
    )


def varying_alike(a: jax.Array, b: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Within a `jax.shard_map`, both as arrays that differ along the axes along which one does.

    The derivative of that is a sum over the axes, such as that of a shared kernel.
    """
    of_a, of_b = (jax.typeof(array).mat.varying for array in (a, b))
    return (
        lax.pcast(a, tuple(of_b - of_a), to="varying"),
        lax.pcast(b, tuple(of_a - of_b), to="varying"),
    )
