"""Convolutions with fewer multiplications: the same numbers, on CPU alone, where they pay."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rir_jax.ops import convolution, winograd
from rir_jax.ops.parts import of_at_most

SHAPE, KERNEL = (8, 16, 16, 32), (3, 3, 32, 48)


@pytest.fixture(autouse=True)
def _kernel_gradients_too(monkeypatch):
    """Takes Winograd's kernel gradient for these few channels, as for many."""
    monkeypatch.setattr(convolution, "_MANY_CHANNELS", 32)


def _arrays(dtype=jnp.float32):
    random = np.random.default_rng(0)
    x = jnp.asarray(random.normal(size=SHAPE), dtype)
    return x, jnp.asarray(random.normal(size=KERNEL), dtype)


def _loss(convolve):
    return lambda x, kernel: jnp.sum(jnp.sin(convolve(x, kernel, 1)))


@pytest.mark.parametrize("parts", [pytest.param(1, marks=pytest.mark.slow), 4])
def test_outputs_and_gradients_are_those_of_the_direct_sum(parts, monkeypatch):
    monkeypatch.setattr(winograd, "_PART_ELEMENTS", 2**16 // parts)
    x, kernel = _arrays()
    assert winograd.applies(x.shape, kernel.shape, 1, x.dtype)
    assert of_at_most(winograd._PART_ELEMENTS, x.shape) == parts
    expected = convolution._forward(x, kernel, 1)
    found = convolution.convolve(x, kernel, 1)
    np.testing.assert_allclose(found, expected, atol=1e-5 * float(jnp.abs(expected).max()))
    ours = jax.grad(_loss(convolution.convolve), (0, 1))(x, kernel)
    plain = jax.grad(_loss(convolution._forward), (0, 1))(x, kernel)
    for a, b in zip(ours, plain, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-5 * float(jnp.abs(b).max()))


@pytest.mark.slow
def test_in_double_precision_nothing_but_rounding_differs():
    with jax.enable_x64(True):
        x, kernel = _arrays(jnp.float64)
        expected = convolution._forward(x, kernel, 1)
        found = convolution.convolve(x, kernel, 1)
        assert not np.array_equal(found, expected), "it was not computed so"
        np.testing.assert_allclose(found, expected, atol=1e-13 * float(jnp.abs(expected).max()))
        tangents = (jnp.ones_like(x), jnp.ones_like(kernel))
        second = [
            jax.jvp(jax.grad(_loss(convolve), (0, 1)), (x, kernel), tangents)[1]
            for convolve in (convolution.convolve, convolution._forward)
        ]
        for a, b in zip(*second, strict=True):
            np.testing.assert_allclose(a, b, atol=1e-12 * float(jnp.abs(b).max()))


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({"x_shape": (8, 15, 16, 32)}, "odd"),
        ({"x_shape": (7, 16, 16, 32)}, "few tiles"),
        ({"x_shape": (8, 16, 16, 16)}, "few channels"),
        ({"kernel_shape": (1, 1, 32, 48)}, "1x1"),
        ({"stride": 2}, "strided"),
        ({"dtype": jnp.bfloat16}, "rounding would count"),
        ({"x_shape": (*jax.export.symbolic_shape("n"), 16, 16, 32)}, "exported for any batch"),
    ],
)
def test_elsewhere_it_is_a_plain_convolution(changed, why):
    usual = {"x_shape": SHAPE, "kernel_shape": KERNEL, "stride": 1, "dtype": jnp.float32}
    assert winograd.applies(**usual)
    assert not winograd.applies(**usual | changed), why


def test_a_compiled_program_multiplies_less():
    x, kernel = _arrays()

    def flops(convolve):
        compiled = jax.jit(convolve, static_argnums=2).lower(x, kernel, 1).compile()
        return compiled.cost_analysis()["flops"]

    assert flops(convolution.convolve) < 0.7 * flops(convolution._forward)
