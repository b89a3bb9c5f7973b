"""The objective and the optimizer: hand-computed values, boundary values of the schedule."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import rir_jax
from rir_jax.training import objective


def test_the_rate_drops_when_the_milestone_epochs_are_over():
    schedule = objective.learning_rate_schedule(0.1, (42, 62, 500), 0.1, steps_per_epoch=100)
    rates = [float(schedule(step)) for step in (0, 4199, 4200, 6199, 6200, 8199)]
    np.testing.assert_allclose(rates, [0.1, 0.1, 0.01, 0.01, 0.001, 0.001], rtol=1e-6)


def test_the_penalty_is_on_kernels_and_projections_alone():
    model = rir_jax.create_model("rir32", shortcut="projection", use_bias=True)
    shapes = jax.eval_shape(model.init, jax.random.key(0), jnp.zeros((1, 32, 32, 3)))["params"]
    on = {
        path[-1].key: value
        for path, value in jax.tree_util.tree_leaves_with_path(objective.penalized(shapes))
    }
    assert on == {"kernel": True, "projection": True, "bias": False, "scale": False}


def test_two_steps_by_hand():
    """SGD with momentum on loss + (decay / 2) W^2, at a rate that drops in between."""
    params = {"kernel": jnp.array(2.0), "bias": jnp.array(2.0)}
    optimizer = objective.sgd(optax.piecewise_constant_schedule(0.5, {1: 0.1}), 0.9, 0.01)
    state = optimizer.init(params)
    for _ in range(2):
        updates, state = optimizer.update({"kernel": 1.0, "bias": 1.0}, state, params)
        params = optax.apply_updates(params, updates)
    first = 2 - 0.5 * (1 + 0.01 * 2)
    second = first - 0.05 * (0.9 * (1 + 0.01 * 2) + 1 + 0.01 * first)
    assert float(params["kernel"]) == pytest.approx(second, rel=1e-6)
    assert float(params["bias"]) == pytest.approx(2 - 0.5 - 0.05 * 1.9, rel=1e-6)


def test_the_optimizer_adds_the_gradient_of_the_penalty():
    params = {"conv": {"kernel": jnp.arange(6.0).reshape(2, 3)}, "norm": {"scale": jnp.ones(3)}}
    gradient = jax.grad(lambda p: objective.l2_penalty(p, 0.3))(params)
    optimizer = objective.sgd(1.0, 0.0, 0.3)
    zeros = jax.tree.map(jnp.zeros_like, params)
    updates, _ = optimizer.update(zeros, optimizer.init(params), params)
    jax.tree.map(lambda u, g: np.testing.assert_allclose(u, -g, rtol=1e-6), updates, gradient)


def test_cross_entropy_by_hand():
    logits = jnp.log(jnp.array([[0.5, 0.25, 0.25], [0.1, 0.1, 0.8]]))
    losses = objective.cross_entropy(logits, jnp.array([0, 2]))
    np.testing.assert_allclose(losses, -np.log([0.5, 0.8]), rtol=1e-6)


def test_smoothed_and_mixed_labels_are_those_of_their_probabilities():
    logits = jnp.array([[1.0, -2.0, 0.5], [0.0, 0.3, 3.0]])
    log_probabilities = np.asarray(jax.nn.log_softmax(logits))
    smooth = 0.7 * np.eye(3)[[0, 2]] + 0.1
    found = objective.cross_entropy(logits, jnp.array([0, 2]), smoothing=0.3)
    np.testing.assert_allclose(found, -(smooth * log_probabilities).sum(-1), rtol=1e-5)
    mixed = np.array([[0.25, 0.75, 0.0], [0.0, 0.0, 1.0]], np.float32)
    found = objective.cross_entropy(logits, jnp.asarray(mixed))
    np.testing.assert_allclose(found, -(mixed * log_probabilities).sum(-1), rtol=1e-5)
    found = objective.cross_entropy(logits, jnp.asarray(mixed), smoothing=0.3)
    np.testing.assert_allclose(found, -((0.7 * mixed + 0.1) * log_probabilities).sum(-1), rtol=1e-5)


def test_nesterovs_momentum_looks_a_step_ahead():
    params, gradient = {"kernel": jnp.array([1.0])}, {"kernel": jnp.array([0.5])}
    found = []
    for nesterov in (False, True):
        optimizer = objective.sgd(0.1, 0.9, 0.0, nesterov=nesterov)
        updates, _ = optimizer.update(gradient, optimizer.init(params), params)
        found.append(float(updates["kernel"][0]))
    assert found == pytest.approx([-0.05, -0.05 * 1.9])
