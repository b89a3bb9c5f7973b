"""Batch normalization against Flax's, and what rounding makes of large means."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rir_jax.models.norm import BatchNorm
from tests.proofs import distance, random_variables

DOUBLE = {"dtype": jnp.float64, "param_dtype": jnp.float64}


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("running", [True, False])
def test_outputs_statistics_and_derivatives_are_those_of_flax(running):
    ours = BatchNorm(running, 0.8, 1e-3, statistics_dtype=jnp.float64, **DOUBLE)
    flax = nn.BatchNorm(running, momentum=0.8, epsilon=1e-3, force_float32_reductions=False)
    flax = flax.clone(**DOUBLE)
    random = np.random.default_rng(0)
    x, weights, tangent = (jnp.asarray(random.normal(size=(4, 3, 3, 2))) for _ in range(3))
    variables = random_variables(ours, x)

    def results(norm):
        def loss(x, params):
            both = {**variables, "params": params}
            y, updates = norm.apply(both, x, mutable=["batch_stats"])
            return jnp.sum(y * weights), (y, updates)

        def derivatives(x):
            return jax.grad(loss, (0, 1), has_aux=True)(x, variables["params"])

        return jax.jvp(derivatives, (x,), (tangent,))

    assert distance(results(ours), results(flax)) < 1e-12


@pytest.mark.slow
def test_large_means_cost_no_digits_of_bfloat16():
    """``x * scale + shift`` is the difference of two large numbers, as ``x - mean`` is: in float32.

    The means are up to 64 deviations from zero. What bfloat16 keeps of such an input is the input;
    of outputs and gradients, two roundings to bfloat16 are allowed.
    """
    random = np.random.default_rng(0)
    means = np.array([0, 1, -8, 64])
    x = jnp.asarray(random.normal(size=(8, 16, 16, 4)) + means, jnp.bfloat16)
    weights = jnp.asarray(random.normal(size=x.shape), jnp.bfloat16)

    def results(norm, x, weights):
        variables = norm.init(jax.random.key(0), x)

        def loss(x):
            y = norm.apply(variables, x, mutable=["batch_stats"])[0]
            return jnp.sum(y.astype(weights.dtype) * weights), y

        gradient, y = jax.grad(loss, has_aux=True)(x)
        return [np.asarray(a, np.float64) for a in (y, gradient)]

    found = results(BatchNorm(False, dtype=jnp.bfloat16), x, weights)
    with jax.enable_x64(True):
        exact = BatchNorm(False, statistics_dtype=jnp.float64, **DOUBLE)
        expected = results(exact, x.astype(jnp.float64), weights.astype(jnp.float64))
    rounding = 2.0**-9
    for a, b in zip(found, expected, strict=True):
        assert (np.abs(a - b).max((0, 1, 2)) < 2 * rounding * np.abs(b).max()).all()
