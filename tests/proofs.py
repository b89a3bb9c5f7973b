"""What the proofs share: variables with nothing left at its first value, and how far apart."""

import jax
import jax.numpy as jnp
import numpy as np


def randomized(variables, seed=0):
    """Every weight and statistic drawn anew; variances positive, scales of both signs."""
    rng = np.random.default_rng(seed)

    def draw(path, leaf):
        name = path[-1].key
        if name == "var":
            value = rng.uniform(0.5, 2.0, leaf.shape)
        elif name == "scale":
            value = rng.uniform(0.5, 1.5, leaf.shape) * rng.choice([-1, 1, 1], leaf.shape)
        elif name in ("kernel", "projection"):
            fan_in = max(1, leaf.size // leaf.shape[-1])
            value = rng.normal(0, fan_in**-0.5, leaf.shape)
        else:
            value = rng.normal(0, 0.3, leaf.shape)
        return jnp.asarray(value, leaf.dtype)

    return jax.tree_util.tree_map_with_path(draw, variables)


def random_variables(model, images, seed=0):
    """`randomized` variables of a model, of the shapes that it has for these images."""
    return randomized(jax.eval_shape(model.init, jax.random.key(0), images), seed)


def distance(actual, expected) -> float:
    """The largest difference between two trees, relative to each leaf's largest value."""
    actual_leaves, actual_tree = jax.tree.flatten(actual)
    expected_leaves, expected_tree = jax.tree.flatten(expected)
    assert actual_tree == expected_tree
    worst = 0.0
    for a, b in zip(actual_leaves, expected_leaves, strict=True):
        a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
        assert a.shape == b.shape
        worst = max(worst, np.abs(a - b).max() / max(np.abs(b).max(), 1e-30))
    return worst
