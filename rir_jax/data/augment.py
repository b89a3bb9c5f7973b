"""Augmentation and normalization, on the device, in batches."""

import jax
import jax.numpy as jnp


def random_crop(key: jax.Array, images: jax.Array, padding: int) -> jax.Array:
    """Pads images by ``padding`` zeros on every side and crops each at random to its old size.

    ``[N, H, W, C]`` to the same shape and type. A padding of 0 changes nothing.
    """
    if padding == 0:
        return images
    n, height, width, channels = images.shape
    pads = ((0, 0), (padding, padding), (padding, padding), (0, 0))
    padded = jnp.pad(images, pads)
    corners = jax.random.randint(key, (n, 2), 0, 2 * padding + 1)

    def crop(image, corner):
        start = (corner[0], corner[1], 0)
        return jax.lax.dynamic_slice(image, start, (height, width, channels))

    return jax.vmap(crop)(padded, corners)


def random_flip(key: jax.Array, images: jax.Array) -> jax.Array:
    """Mirrors each image ``[N, H, W, C]`` left to right with probability one half."""
    flips = jax.random.bernoulli(key, shape=(images.shape[0], 1, 1, 1))
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
    mean, std = jnp.asarray(mean, jnp.float32), jnp.asarray(std, jnp.float32)
    return (images.astype(jnp.float32) - mean) / std
