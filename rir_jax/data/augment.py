"""Augmentation and normalization, on the device, in batches."""

import jax
import jax.numpy as jnp


def random_crop(key: jax.Array, images: jax.Array, padding: int) -> jax.Array:
    """Pads images by ``padding`` zeros on every side and crops each at random to its old size.

    ``[N, H, W, C]`` to the same shape and type. A padding of 0 changes nothing.
    """
    if padding == 0:
        return images
    corners = jax.random.randint(key, (images.shape[0], 2), 0, 2 * padding + 1, jnp.int32)
    for axis in (1, 2):
        images = _shift(images, corners[:, axis - 1], padding, axis)
    return images


def _shift(images, offsets, padding, axis):
    """Of each image, padded along an axis, the window that starts at its offset.

    A choice among all windows is elementwise work, which every backend does in one pass;
    slices at offsets of their own would be a loop over images on some.
    """
    size = images.shape[axis]
    pads = [(0, 0)] * images.ndim
    pads[axis] = (padding, padding)
    padded = jnp.pad(images, pads)
    windows = [
        jax.lax.slice_in_dim(padded, start, start + size, axis=axis)
        for start in range(2 * padding + 1)
    ]
    return jax.lax.select_n(jnp.broadcast_to(offsets[:, None, None, None], images.shape), *windows)


def random_flip(key: jax.Array, images: jax.Array) -> jax.Array:
    """Mirrors each image ``[N, H, W, C]`` left to right with probability one half."""
    flips = jax.random.bernoulli(key, jnp.float32(0.5), (images.shape[0], 1, 1, 1))
    return jnp.where(flips, images[:, :, ::-1], images)


def augment(key: jax.Array, images: jax.Array, crop_padding: int, flip: bool) -> jax.Array:
    """Random crop, then flip. ``[N, H, W, C]`` to the same shape and type."""
    crop_key, flip_key = jax.random.split(key)
    images = random_crop(crop_key, images, crop_padding)
    return random_flip(flip_key, images) if flip else images


def normalize(images: jax.Array, mean, std) -> jax.Array:
    """uint8 ``[N, H, W, C]`` to float32, less the mean and over the deviation of each channel.

    ``mean`` and ``std`` are ``[C]``, in units of the pixels (0-255).
    """
    mean, std = (jnp.asarray(a, jnp.float32).reshape(1, 1, 1, -1) for a in (mean, std))
    return (images.astype(jnp.float32) - mean) / std
