"""ResNet Init is an initialization, and the L2 penalty leaves its identity alone."""

from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import rir_jax
from rir_jax import GeneralizedConv, GeneralizedDense
from rir_jax.models import layers, streams
from rir_jax.training import objective
from tests.proofs import distance, random_variables

pytestmark = pytest.mark.usefixtures("float64")

DOUBLE = {"dtype": jnp.float64, "param_dtype": jnp.float64}
CONV = partial(nn.Conv, kernel_size=(3, 3), padding=1, use_bias=False, **DOUBLE)
# An ordinary layer with ResNet Init, and the generalized layer that it starts as.
PAIRS = {
    "conv": (
        CONV(6, kernel_init=rir_jax.resnet_init),
        GeneralizedConv(6, **DOUBLE),
        (2, 5, 4, 4),
    ),
    "one call": (
        rir_jax.resnet_init_conv(6, **DOUBLE),
        GeneralizedConv(6, **DOUBLE),
        (2, 4, 5, 4),
    ),
    "one call, strided": (
        rir_jax.resnet_init_conv(6, (3, 5), strides=(2, 1), use_bias=True, **DOUBLE),
        GeneralizedConv(6, (3, 5), strides=(2, 1), use_bias=True, **DOUBLE),
        (2, 4, 6, 4),
    ),
    "strided conv": (
        CONV(6, strides=2, kernel_init=rir_jax.resnet_init),
        GeneralizedConv(6, strides=2, **DOUBLE),
        (2, 4, 5, 4),
    ),
    "dense": (
        nn.Dense(6, kernel_init=rir_jax.resnet_init, **DOUBLE),
        GeneralizedDense(6, **DOUBLE),
        (3, 4),
    ),
}


@pytest.mark.parametrize("name", PAIRS)
def test_an_ordinary_layer_starts_as_the_generalized_one(name):
    ordinary, generalized, shape = PAIRS[name]
    x = np.random.default_rng(0).normal(size=shape)
    key = jax.random.key(3)
    variables, general_variables = ordinary.init(key, x), generalized.init(key, x)
    assert distance(ordinary.apply(variables, x), generalized.apply(general_variables, x)) < 1e-12
    # No extra parameters; the identity is the only difference between them.
    shapes = partial(jax.tree.map, jnp.shape)
    assert shapes(variables) == shapes(general_variables)
    kernel = variables["params"]["kernel"]
    off = kernel - general_variables["params"]["kernel"]
    assert distance(off, streams.partial_identity(kernel.shape, kernel.dtype)) < 1e-12
    assert float(jnp.sum(off)) == pytest.approx(2)  # two residual channels come in


def test_it_is_an_initializer_like_the_others():
    kernel = rir_jax.resnet_init(jax.random.key(0), (3, 3, 64, 64), jnp.bfloat16)
    assert (kernel.shape, kernel.dtype) == ((3, 3, 64, 64), jnp.bfloat16)
    noise = rir_jax.resnet_init(jax.random.key(0), (3, 3, 64, 64), jnp.float64)
    noise = noise - streams.partial_identity(noise.shape, noise.dtype)
    assert float(jnp.mean(noise)) == pytest.approx(0, abs=1e-3)
    assert float(jnp.var(noise)) == pytest.approx(2 / (9 * 64), rel=0.02)  # MSR
    same = layers.msr(jax.random.key(0), noise.shape, noise.dtype)
    assert distance(noise, same) < 1e-12


@pytest.mark.parametrize("shape", [(3, 3, 3, 4), (3, 3, 4, 5), (2, 2, 4, 4), (4, 2), (3, 3, 6, 4)])
def test_it_refuses_kernels_without_streams_or_centre(shape):
    with pytest.raises(ValueError, match=r"cannot be split|has no centre|cannot go from"):
        rir_jax.resnet_init(jax.random.key(0), shape)


@pytest.mark.parametrize("name", ["conv", "dense"])
def test_the_penalty_and_its_gradient_have_the_identity_taken_off(name):
    """In terms of the applied kernel V: (decay / 2) * |V - I|^2 and decay * (V - I)."""
    _, layer, shape = PAIRS[name]
    params = random_variables(layer, jnp.zeros(shape))["params"]
    identity = streams.partial_identity(params["kernel"].shape, jnp.float64)
    applied = params["kernel"] + identity
    penalty, gradient = jax.value_and_grad(objective.l2_penalty)(params, 0.3)
    assert float(penalty) == pytest.approx(0.15 * float(jnp.sum((applied - identity) ** 2)), 1e-12)
    assert distance(gradient["kernel"], 0.3 * (applied - identity)) < 1e-12
    # That of an ordinary layer with the same applied kernel is another one: it pulls on I.
    of_applied = jax.grad(objective.l2_penalty)({"kernel": applied}, 0.3)["kernel"]
    assert distance(of_applied - gradient["kernel"], 0.3 * identity) < 1e-12


@pytest.mark.parametrize("name", PAIRS)
def test_weight_decay_alone_drives_an_ordinary_layers_shortcut_to_zero(name):
    """And leaves the generalized layer with nothing but its shortcut."""
    ordinary, generalized, shape = PAIRS[name]
    x = np.random.default_rng(0).normal(size=shape)
    optimizer = objective.sgd(optax.constant_schedule(0.1), momentum=0.9, weight_decay=1.0)

    @jax.jit
    def decayed(params):
        def step(state, _):
            params, opt_state = state
            updates, opt_state = optimizer.update(
                jax.tree.map(jnp.zeros_like, params), opt_state, params
            )
            return (optax.apply_updates(params, updates), opt_state), None

        return jax.lax.scan(step, (params, optimizer.init(params)), length=400)[0][0]

    key = jax.random.key(0)
    after = {"params": decayed(ordinary.init(key, x)["params"])}
    general_after = {"params": decayed(generalized.init(key, x)["params"])}
    residual = x[..., :2]
    if x.ndim == 4:
        down, across = generalized.steps
        residual = residual[:, ::down, ::across]
    assert float(jnp.abs(ordinary.apply(after, x)).max()) < 1e-6
    kept = generalized.apply(general_after, x)
    assert distance(kept[..., :2], residual) < 1e-6
    assert float(jnp.abs(kept[..., 2:]).max()) < 1e-6


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64])
@pytest.mark.parametrize("shape", [(3, 3, 4, 6), (4, 6)])
def test_msr_draws_what_flax_draws(shape, dtype):
    """Drawn flat, which compiles in a quarter of the time, to the same bits."""
    flax = nn.initializers.variance_scaling(2.0, "fan_in", "normal")
    key = jax.random.key(3)
    np.testing.assert_array_equal(layers.msr(key, shape, dtype), flax(key, shape, dtype))
