"""Derivatives of layers and networks of every order and mode, against differences of values."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import rir_jax
from rir_jax import GeneralizedConv, GeneralizedDense
from rir_jax.models.layers import Conv
from tests.compiling import FAST_COMPILE
from tests.proofs import distance, random_variables

pytestmark = pytest.mark.usefixtures("float64")

FLOAT64 = {"dtype": jnp.float64, "param_dtype": jnp.float64}
SMALL = {
    "stem_width": 4,
    "widths": (4, 6),
    "blocks": (1, 1),
    "layers_per_block": 1,
    "num_classes": 3,
}
STEP = 1e-6


def _check(function, point):
    """Checks the derivatives of a scalar function along a direction, at a point (a tree)."""
    random = np.random.default_rng(1)
    direction = jax.tree.map(lambda a: jnp.asarray(random.normal(size=a.shape)), point)

    def derivatives(point):
        gradient = jax.grad(function)
        slope, change = jax.jvp(gradient, (point,), (direction,))[1], jax.linearize(function, point)
        both = jax.tree.map(lambda a: jnp.stack([a, 2 * a]), direction)
        return {
            "gradient": gradient(point),
            "slope": jax.jvp(function, (point,), (direction,))[1],
            "linearized": change[1](direction),
            "mapped": jax.vmap(lambda d: jax.jvp(function, (point,), (d,))[1])(both),
            "curvature": slope,
            "in reverse": jax.grad(lambda p: _dot(gradient(p), direction))(point),
            "mapped curvature": jax.vmap(lambda d: jax.jvp(gradient, (point,), (d,))[1])(both),
        }

    def moved(by):
        return jax.tree.map(lambda a, d: a + by * d, point, direction)

    evaluate = jax.jit(jax.value_and_grad(function), compiler_options=FAST_COMPILE)
    (low, low_gradient), (high, high_gradient) = evaluate(moved(-STEP)), evaluate(moved(STEP))
    found = jax.jit(derivatives, compiler_options=FAST_COMPILE)(point)
    slope = found["slope"]
    assert abs((high - low) / (2 * STEP) - slope) < 1e-6 * abs(slope)
    assert abs(found["linearized"] - slope) < 1e-12 * abs(slope)
    assert abs(_dot(found["gradient"], direction) - slope) < 1e-12 * abs(slope)
    curvature = jax.tree.map(lambda a, b: (b - a) / (2 * STEP), low_gradient, high_gradient)
    assert distance(found["curvature"], curvature) < 1e-5
    assert distance(found["in reverse"], found["curvature"]) < 1e-11
    for name, once in (("mapped", slope), ("mapped curvature", found["curvature"])):
        twice = jax.tree.map(lambda a: jnp.stack([a, 2 * a]), once)
        assert distance(found[name], twice) < 1e-11


def _dot(a, b):
    return sum(map(jnp.vdot, jax.tree.leaves(a), jax.tree.leaves(b)))


def _images(*shape):
    return jnp.asarray(np.random.default_rng(0).normal(size=shape))


@pytest.mark.parametrize(
    "layer",
    [
        Conv(3, strides=2, use_bias=True, **FLOAT64),
        GeneralizedConv(6, **FLOAT64),
        GeneralizedConv(6, strides=2, shortcut="projection", use_bias=True, **FLOAT64),
        GeneralizedDense(6, **FLOAT64),
        GeneralizedDense(6, shortcut="projection", **FLOAT64),
    ],
    ids=lambda layer: f"{type(layer).__name__}-{getattr(layer, 'shortcut', 'none')}",
)
def test_of_layers_for_variables_and_inputs(layer):
    x = _images(2, 5, 4, 4)
    point = {"variables": random_variables(layer, x), "x": x}
    _check(lambda at: jnp.sum(jnp.sin(layer.apply(at["variables"], at["x"]))), point)


@pytest.mark.parametrize(
    ("name", "fields", "train"),
    [
        pytest.param("cnn32", {}, True, marks=pytest.mark.slow),
        pytest.param(
            "resnet32", {"head": "conv", "shortcut": "projection"}, False, marks=pytest.mark.slow
        ),
        pytest.param(
            "resnet_init32",
            {"head": "conv", "head_relu": True, "use_bias": True},
            False,
            marks=pytest.mark.slow,
        ),
        ("rir32", {"outer_shortcut": "pre_norm"}, True),
    ],
)
def test_of_networks_for_parameters_and_images(name, fields, train):
    model = rir_jax.create_model(name, **SMALL, **fields, **FLOAT64)
    images = _images(3, 6, 5, 2)
    variables = random_variables(model, images)

    def loss(at):
        inputs = {**variables, "params": at["params"]}
        logits = model.apply(inputs, at["images"], train=train, mutable=["batch_stats"])[0]
        return -jax.nn.log_softmax(logits)[:, 0].sum()

    _check(loss, {"params": variables["params"], "images": images})


@pytest.mark.slow
def test_of_folded_networks():
    model = rir_jax.create_model("rir32", **SMALL, **FLOAT64)
    images = _images(3, 6, 5, 2)
    plain, folded = rir_jax.fold(model, random_variables(model, images))
    _check(lambda images: jnp.sum(jnp.sin(plain.apply(folded, images))), images)


def test_jacobians_in_both_modes_and_the_hessian_of_a_layer():
    layer, x = GeneralizedConv(4, **FLOAT64), _images(1, 3, 3, 4)
    variables = random_variables(layer, x)

    def apply(x):
        return jnp.sin(layer.apply(variables, x))

    forward, reverse = jax.jit(lambda x: (jax.jacfwd(apply)(x), jax.jacrev(apply)(x)))(x)
    assert forward.shape == (1, 3, 3, 4, 1, 3, 3, 4)
    assert distance(forward, reverse) < 1e-14
    hessian = jax.jit(jax.hessian(lambda x: apply(x).sum()))(x).reshape(36, 36)
    assert np.abs(hessian).max() > 0.1
    assert distance(hessian, hessian.T) < 1e-14
