"""The one convolution: its CPU gradients against XLA's, and nothing changed elsewhere."""

import re
from functools import partial

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from rir_jax.ops import convolution, parts

# Height, width, kernel size, stride, batch: odd and even, batches that split in parts and not.
CASES = [
    *((8, 8, 3, 1, 8), (7, 10, 3, 2, 6), (8, 8, 3, 2, 5), (9, 7, 1, 2, 4), (9, 8, 5, 3, 2)),
    *((7, 10, 3, 1, 6), (9, 8, 5, 1, 4)),
]


def _gradients(convolve, x, kernel, stride):
    def loss(x, kernel):
        return jnp.sum(jnp.sin(convolve(x, kernel, stride)))

    return jax.grad(loss, (0, 1))(x, kernel)


@pytest.fixture
def few_elements_a_part(monkeypatch):
    """Splits even these small batches, as large ones are."""
    monkeypatch.setattr(convolution, "_PART_ELEMENTS", 1)
    monkeypatch.setattr(convolution, "_SHIFTED_ELEMENTS", 1)


@pytest.mark.parametrize(("height", "width", "size", "stride", "batch"), CASES)
def test_gradients_are_those_of_xla(few_elements_a_part, height, width, size, stride, batch):
    random = np.random.default_rng(0)
    x = jnp.asarray(random.normal(size=(batch, height, width, 2)), jnp.float32)
    kernel = jnp.asarray(random.normal(size=(size, size, 2, 3)), jnp.float32)
    ours = _gradients(convolution.convolve, x, kernel, stride)
    expected = _gradients(convolution._forward, x, kernel, stride)
    for a, b in zip(ours, expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5 * float(jnp.abs(b).max()))


def test_batches_are_split_when_large():
    assert parts.of_at_least(1, (8, 32, 32, 2)) == 8


@pytest.mark.parametrize("platform", ["tpu", "cuda"])
@pytest.mark.parametrize(("shape", "stride"), [((4, 8, 8, 2), 2), ((8, 16, 16, 32), 1)])
def test_accelerator_programs_are_those_of_plain_convolutions(platform, shape, stride):
    """The program for TPU and GPU has the operations that it has without our CPU gradients.

    What is more in it is the choice by platform, which is made while lowering: a case over a
    constant with one branch left, which XLA drops.
    """
    x, kernel = jnp.ones(shape), jnp.ones((3, 3, shape[3], 2 * shape[3]))

    def program(convolve):
        gradients = jax.jit(lambda x, kernel: _gradients(convolve, x, kernel, stride))
        text = gradients.trace(x, kernel).lower(lowering_platforms=(platform,)).as_text()
        parts = re.findall(r"stablehlo\.\w+|window = \{.*?\}|dim_numbers = \S+", text)
        choice = ("stablehlo.case", "stablehlo.return", "stablehlo.constant")
        return sorted(part for part in parts if part not in choice)

    ours, plain = program(convolution.convolve), program(convolution._forward)
    assert ours == plain
    assert sum(operation == "stablehlo.convolution" for operation in ours) == 3


def test_centre_tap_reads_what_subsampling_reads():
    """At stride 2 the centre tap is x[2 i], which "SAME" padding would make x[2 i + 1]."""
    x = jnp.arange(64.0).reshape(1, 8, 8, 1)
    kernel = jnp.zeros((3, 3, 1, 1)).at[1, 1].set(1.0)
    np.testing.assert_array_equal(convolution.convolve(x, kernel, 2), x[:, ::2, ::2])
    same = jax.lax.conv_general_dilated(
        x, kernel, (2, 2), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
    )
    np.testing.assert_array_equal(same, x[:, 1::2, 1::2])


@pytest.mark.parametrize(
    ("height", "width", "size", "stride", "batch"),
    [CASES[1], *(pytest.param(*case, marks=pytest.mark.slow) for case in CASES[3::2])],
)
def test_derivatives_of_both_modes_and_two_orders(height, width, size, stride, batch):
    with jax.enable_x64(True):
        x, kernel = _float64(batch, height, width, 2), _float64(size, size, 2, 3)
        convolve = jax.jit(partial(convolution.convolve, stride=stride))
        check_grads(convolve, (x, kernel), order=2)


MAPPED = {"x": (0, None), "kernel": (None, 3), "both": (2, 0)}


@pytest.mark.parametrize(("x_axis", "kernel_axis"), MAPPED.values(), ids=MAPPED)
@pytest.mark.parametrize("stride", [pytest.param(1, marks=pytest.mark.slow), 2])
def test_mapped_over_either_array_or_both(x_axis, kernel_axis, stride):
    """The convolution, its gradients and their derivatives; and the gradients of the mapped."""
    with jax.enable_x64(True):
        x, kernel = _float64(4, 6, 5, 2), _float64(3, 3, 2, 3)
        many = [
            array if axis is None else jnp.stack([array, array - 1, 2 * array], axis)
            for array, axis in ((x, x_axis), (kernel, kernel_axis))
        ]

        def everything(x, kernel):
            def gradients(x, kernel):
                return _gradients(convolution.convolve, x, kernel, stride)

            value, change = jax.jvp(gradients, (x, kernel), (jnp.cos(x), jnp.cos(kernel)))
            return value, change, convolution.convolve(x, kernel, stride)

        axes = (x_axis, kernel_axis)
        found = jax.jit(jax.vmap(everything, axes))(*many)
        pairs = [_taken(many, axes, i) for i in range(3)]
        for i, pair in enumerate(pairs):
            own = jax.tree.map(lambda a, i=i: a[i], found)
            chex.assert_trees_all_close(own, everything(*pair), rtol=1e-11, atol=1e-11)

        def loss_of_mapped(*many):
            return jnp.sum(
                jnp.sin(jax.vmap(partial(convolution.convolve, stride=stride), axes)(*many))
            )

        for k, gradient in enumerate(jax.jit(jax.grad(loss_of_mapped, (0, 1)))(*many)):
            one_by_one = [_gradients(convolution.convolve, *pair, stride)[k] for pair in pairs]
            expected = sum(one_by_one) if axes[k] is None else jnp.stack(one_by_one, axes[k])
            np.testing.assert_allclose(gradient, expected, rtol=1e-11, atol=1e-11)


def _float64(*shape):
    return jnp.asarray(np.random.default_rng(0).normal(size=shape), jnp.float64)


def _taken(arrays, axes, index):
    return [
        a if axis is None else jnp.take(a, index, axis)
        for a, axis in zip(arrays, axes, strict=True)
    ]


@pytest.mark.parametrize("mapped", [False, True])
def test_forms_of_the_cpu_are_kept_by_every_derivative(mapped):
    """Gradients of what was mapped over images, and tangents, have no dilated convolution."""
    x, kernel = jnp.ones((2, 4, 8, 8, 2)), jnp.ones((3, 3, 2, 3))
    several = jax.vmap(convolution.convolve, (0, None, None)) if mapped else convolution.convolve
    x = x if mapped else x[0]

    def program(x, kernel):
        return jax.jvp(partial(_gradients, several, stride=2), (x, kernel), (x, kernel))

    text = jax.jit(program).trace(x, kernel).lower(lowering_platforms=("cpu",)).as_text()
    assert "stablehlo.convolution" in text
    assert "lhs_dilate = [2" not in text
    default = jax.jit(program).trace(x, kernel).lower(lowering_platforms=("tpu",)).as_text()
    assert "lhs_dilate = [2" in default, "this is how it could tell"


def test_a_program_for_several_platforms_has_the_form_of_each():
    """As `jax.export` writes it; also its gradient, and for batches of any size."""
    (n,) = jax.export.symbolic_shape("n")
    x = jax.ShapeDtypeStruct((n, 8, 8, 2), jnp.float32)
    kernel = jnp.ones((3, 3, 2, 3))
    program = jax.jit(lambda x: jax.grad(lambda x: convolution.convolve(x, kernel, 2).sum())(x))
    exported = jax.export.export(program, platforms=("cpu", "cuda", "tpu"))(x)
    images = jnp.ones((3, 8, 8, 2))
    np.testing.assert_allclose(exported.call(images), program(images), rtol=1e-6)


def test_within_a_shard_map_the_axes_that_values_vary_over_are_kept(few_elements_a_part):
    mesh = jax.make_mesh((2,), ("data",), axis_types=(jax.sharding.AxisType.Auto,))
    x, kernel = jnp.ones((4, 6, 6, 2)), jnp.ones((3, 3, 2, 3))

    def loss(x, kernel):
        return jax.lax.psum(jnp.sum(jnp.sin(convolution.convolve(x, kernel))), "data")

    spec = jax.sharding.PartitionSpec
    split = jax.shard_map(loss, mesh=mesh, in_specs=(spec("data"), spec()), out_specs=spec())
    ours = jax.jit(jax.grad(split, (0, 1)))(x, kernel)
    for a, b in zip(ours, _gradients(convolution.convolve, x, kernel, 1), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5)
