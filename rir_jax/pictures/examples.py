"""Training images as the network sees them, side by side."""

from functools import partial

import jax
import numpy as np

from rir_jax import random_numbers
from rir_jax.data import augment

_COUNT = 8  # number of images


def example_images(images: np.ndarray, crop_padding: int, flip: bool, seed: int) -> np.ndarray:
    """The first training images and, below them, the same images augmented.

    Args:
      images: the training images, uint8 ``[N, H, W, C]``.
      crop_padding: the config's ``augment.crop_padding``, in pixels.
      flip: the config's ``augment.flip``.
      seed: the random seed of the augmentation.

    Returns:
      One picture, uint8 ``[height, width, C]``, each image enlarged to 64 pixels or more.

    Examples:
      >>> example_images(np.zeros((20, 8, 8, 1), np.uint8), 1, flip=False, seed=0).shape
      (144, 576, 1)
    """
    chosen = images[:_COUNT]
    make = jax.jit(partial(augment.augment, crop_padding=crop_padding, flip=flip))
    augmented = np.asarray(make(random_numbers.key(seed), chosen))
    scale = -(-64 // min(images.shape[1:3]))
    large = np.stack([chosen, augmented]).repeat(scale, axis=2).repeat(scale, axis=3)
    framed = np.pad(large, ((0, 0), (0, 0), (4, 4), (4, 4), (0, 0)))  # a dark line around each
    return np.concatenate([np.concatenate(row, axis=1) for row in framed])
