"""Mixup and CutMix: shares of images and of targets agree."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rir_jax.data import mixing

IMAGES = jnp.stack([jnp.full((12, 16, 2), value) for value in (0.0, 1.0, 0.0, 1.0)])
TARGETS = jax.nn.one_hot(jnp.array([0, 1, 0, 1]), 2)  # an image's value is its second target


@pytest.fixture(scope="module")
def batches():
    """By kind, 200 batches of images and targets."""
    keys = jax.random.split(jax.random.key(0), 200)

    def many(mixup, cutmix):
        mix = jax.vmap(lambda key: mixing.mix(key, IMAGES, TARGETS, mixup, cutmix))
        return jax.tree.map(np.asarray, jax.jit(mix)(keys))

    return {"mixup": many(0.4, 0.0), "cutmix": many(0.0, 1.0), "both": many(0.4, 1.0)}


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["mixup", "cutmix", "both"])
def test_targets_have_the_share_that_their_images_show(batches, kind):
    images, targets = batches[kind]
    np.testing.assert_allclose(images.mean((2, 3, 4)), targets[..., 1], atol=1e-6)
    np.testing.assert_allclose(targets.sum(-1), 1, atol=1e-6)
    assert 0.1 < targets[:, 0, 1].std() < 0.5  # the share differs from batch to batch


@pytest.mark.slow
def test_mixup_is_the_same_everywhere_and_cutmix_one_rectangle(batches):
    images, _ = batches["mixup"]
    np.testing.assert_array_equal(images.max((2, 3, 4)), images.min((2, 3, 4)))
    images, _ = batches["cutmix"]
    assert set(np.unique(images)) == {0.0, 1.0}
    others = images[:, 0, :, :, 0]  # of an image of zeros, 1 where it is the other's
    rows, columns = others.max(2), others.max(1)
    np.testing.assert_array_equal(others, rows[:, :, None] * columns[:, None])
    for edges in (rows, columns):
        assert (np.abs(np.diff(edges, axis=1, prepend=0, append=0)).sum(1) <= 2).all()


def test_with_both_a_coin_decides_for_each_batch(batches):
    images, _ = batches["both"]
    uniform = images.max((2, 3, 4)) == images.min((2, 3, 4))
    assert 0.3 < uniform[:, 0].mean() < 0.75


def test_the_area_of_the_rectangle_is_the_others_share():
    keys = jax.random.split(jax.random.key(1), 2000)
    outside = jax.vmap(lambda key: mixing._outside_of_rectangle(key, (32, 32), 0.25))(keys)
    inside = 1 - np.asarray(outside).mean((1, 2))
    assert inside.max() == pytest.approx(0.25, abs=0.02)  # where it is not cut by an edge
    assert (inside > 0.01).all()
