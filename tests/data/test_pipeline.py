"""Batches: pure functions of (seed, epoch, step); augmentation against plain numpy."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rir_jax.data import augment, sources
from rir_jax.data.pipeline import Batches, device_arrays
from rir_jax.devices.mesh import create_mesh

KEY = jax.random.key(3)
IMAGES = np.random.default_rng(0).integers(1, 256, (64, 6, 5, 2)).astype(np.uint8)


def test_crops_are_windows_of_the_padded_image_and_all_of_them_occur():
    padded = np.pad(IMAGES, ((0, 0), (2, 2), (2, 2), (0, 0)))
    cropped = np.asarray(augment.random_crop(KEY, IMAGES, 2))
    corners = set()
    for image, source in zip(cropped, padded, strict=True):
        found = [
            (top, left)
            for top in range(5)
            for left in range(5)
            if (source[top : top + 6, left : left + 5] == image).all()
        ]
        assert len(found) == 1
        corners.update(found)
    assert {top for top, _ in corners} == {left for _, left in corners} == set(range(5))


def test_flips_are_mirror_images_about_half_of_the_time():
    flipped = np.asarray(augment.random_flip(KEY, IMAGES))
    mirrored = (flipped == IMAGES[:, :, ::-1]).all((1, 2, 3))
    kept = (flipped == IMAGES).all((1, 2, 3))
    assert (mirrored | kept).all()
    assert 16 < mirrored.sum() < 48


def test_no_augmentation_changes_nothing():
    np.testing.assert_array_equal(augment.augment(KEY, IMAGES, 0, False), IMAGES)


def test_normalization_gives_zero_mean_and_unit_deviation():
    mean, std = IMAGES.mean((0, 1, 2)), IMAGES.std((0, 1, 2))
    normalized = np.asarray(augment.normalize(jnp.asarray(IMAGES), mean, std))
    np.testing.assert_allclose(normalized.mean((0, 1, 2)), 0, atol=1e-5)
    np.testing.assert_allclose(normalized.std((0, 1, 2)), 1, atol=1e-5)


@pytest.fixture(scope="module")
def batches():
    digits = sources.load("digits")
    mesh = create_mesh(100, 1)
    cut = Batches(100, len(digits.train), digits.image_shape, crop_padding=1, flip=True, mesh=mesh)
    arrays = device_arrays(digits, mesh)

    @jax.jit
    def batch(seed, step):
        permutation = cut.permutation(seed, step // cut.steps_per_epoch)
        return permutation, *cut.batch(arrays, permutation, seed, step)

    return digits, cut, batch


def test_an_epoch_sees_each_image_at_most_once_and_drops_the_incomplete_batch(batches):
    digits, cut, batch = batches
    assert cut.steps_per_epoch == 14
    for epoch in (0, 1):
        permutation, _, _ = batch(0, 14 * epoch)
        assert sorted(np.asarray(permutation).tolist()) == list(range(len(digits.train)))
    _, _, labels = batch(0, 15)
    np.testing.assert_array_equal(labels, digits.train.labels[np.asarray(permutation)[100:200]])


def test_batches_depend_on_seed_epoch_and_step_alone(batches):
    _, _, batch = batches
    _, images, labels = batch(7, 5)
    _, again, labels_again = batch(7, 5)
    np.testing.assert_array_equal(images, again)
    np.testing.assert_array_equal(labels, labels_again)
    for other in ((8, 5), (7, 6), (7, 19)):
        _, others, _ = batch(*other)
        assert not np.array_equal(images, others)


def test_mixing_depends_on_seed_epoch_and_step(batches):
    digits, cut, _ = batches
    mixed = dataclasses.replace(cut, cutmix=1.0, num_classes=10)
    arrays = device_arrays(digits, cut.mesh)

    @jax.jit
    def shares(seed, step):
        permutation = mixed.permutation(seed, step // mixed.steps_per_epoch)
        return mixed.batch(arrays, permutation, seed, step)[1].max(-1).min()

    places = ((0, 0), (0, 1), (0, 14), (1, 0))
    found = [float(shares(np.uint32(seed), step)) for seed, step in places]
    assert len(set(found)) == 4
    assert found[1] == float(shares(np.uint32(0), 1))
