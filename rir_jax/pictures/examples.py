"""Training images as the network sees them, side by side."""

from functools import partial

import jax
import numpy as np

from rir_jax import random_numbers
from rir_jax.data import augment

_COUNT = 8


def example_images(images: np.ndarray, crop_padding: int, flip: bool, seed: int) -> np.ndarray:
    """The first training images and, below them, what augmentation makes of them.

    Args:
      images: uint8 ``[N, H, W, C]``.
      crop_padding: the config's ``augment.crop_padding``, in pixels.
      flip: the config's ``augment.flip``.
      seed: that the augmentation is drawn from.

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
    rows = [
        np.concatenate([_enlarge(image, scale) for image in row], 1) for row in (chosen, augmented)
    ]
    return np.concatenate(rows, 0)


def _enlarge(image, scale):
    """Every pixel as a square, with a dark line around the image."""
    large = image.repeat(scale, axis=0).repeat(scale, axis=1)
    return np.pad(large, ((4, 4), (4, 4), (0, 0)))
