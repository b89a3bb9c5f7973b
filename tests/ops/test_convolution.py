"""The one convolution: its CPU gradients against XLA's, and nothing changed elsewhere."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rir_jax.ops import convolution

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


def test_batches_are_split_when_large(few_elements_a_part):
    shape, kernel_shape = (8, 32, 32, 2), (3, 3, 2, 2)
    assert convolution._parts(shape, kernel_shape, elements=1) == 8


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


@pytest.mark.slow
def test_second_derivatives():
    """Reverse over reverse and forward over reverse, for those who need curvature."""
    x, kernel = jnp.ones((2, 4, 4, 1)), jnp.full((3, 3, 1, 1), 0.1)

    def loss(convolve):
        return lambda kernel: jnp.sum(jnp.sin(convolve(x, kernel, 1)))

    expected = jax.hessian(loss(convolution._forward))(kernel)
    twice = jax.jacrev(jax.grad(loss(convolution.convolve)))(kernel)
    forward = jax.jacfwd(jax.grad(loss(convolution.convolve)))(kernel)
    np.testing.assert_allclose(twice, expected, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(forward, expected, rtol=1e-4, atol=1e-4)
