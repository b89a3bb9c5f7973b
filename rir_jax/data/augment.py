"""Augmentation and normalization of batches, on the device."""

import jax
import jax.numpy as jnp


def random_crop(key: jax.Array, images: jax.Array, padding: int) -> jax.Array:
    """Pads images with ``padding`` zeros on every side, and crops each at random to its old size.

    ``[N, H, W, C]`` to the same shape and type. A padding of 0 changes nothing.
    """
    if padding == 0:
        return images
    corners = jax.random.randint(key, (images.shape[0], 2), 0, 2 * padding + 1, jnp.int32)
    for axis in (1, 2):
        images = _shift(images, corners[:, axis - 1], padding, axis)
    return images


def _shift(images, offsets, padding, axis):
    """Pads each image along an axis, and takes the window that starts at the image's offset.

    Selecting among all windows is elementwise work, which every backend does in one pass. Slices
    at an offset for each image would be a loop over images on some.
    """
    size = images.shape[axis]
    pads = [(padding, padding) if a == axis else (0, 0) for a in range(images.ndim)]
    padded = jnp.pad(images, pads)
    windows = [
        jax.lax.slice_in_dim(padded, start, start + size, axis=axis)
        for start in range(2 * padding + 1)
    ]
    return jax.lax.select_n(jnp.broadcast_to(offsets[:, None, None, None], images.shape), *windows)


def random_flip(key: jax.Array, images: jax.Array) -> jax.Array:
    """Mirrors each of the images ``[N, H, W, C]`` left to right with probability one half."""
    flips = jax.random.bernoulli(key, jnp.float32(0.5), (images.shape[0], 1, 1, 1))
    return jnp.where(flips, images[:, :, ::-1], images)


def augment(key: jax.Array, images: jax.Array, crop_padding: int, flip: bool) -> jax.Array:
    """Crops, then flips images at random: ``[N, H, W, C]`` to the same shape and type."""
    crop_key, flip_key = jax.random.split(key)
    images = random_crop(crop_key, images, crop_padding)
    return random_flip(flip_key, images) if flip else images


def normalize(images: jax.Array, mean, std) -> jax.Array:
    """Normalizes uint8 images ``[N, H, W, C]`` to float32: ``(images - mean) / std`` by channel.

    ``mean`` and ``std`` are ``[C]``, for pixels from 0 to 255.
    """
    mean, std = (jnp.asarray(a, jnp.float32).reshape(1, 1, 1, -1) for a in (mean, std))
    return (images.astype(jnp.float32) - mean) / std
