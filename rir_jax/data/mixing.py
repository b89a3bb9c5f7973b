"""Mixup (Zhang et al., 2018) and CutMix (Yun et al., 2019) of batches, on the device."""

import jax
import jax.numpy as jnp


def mix(
    key: jax.Array, images: jax.Array, targets: jax.Array, mixup: float, cutmix: float
) -> tuple[jax.Array, jax.Array]:
    """Mixes the images of a batch, and their targets, with those of the reversed batch.

    An image keeps the share ``s`` of itself, which is drawn for the whole batch from
    ``Beta(alpha, alpha)``. With both mixup and CutMix, a fair coin decides for each batch.

    Args:
      key: random key of the batch.
      images: float ``[N, H, W, C]``.
      targets: probabilities of classes, float ``[N, classes]``.
      mixup: alpha of mixup, the weighted sum ``s * image + (1 - s) * other``; 0: none.
      cutmix: alpha of CutMix, a rectangle of the other image, ``1 - s`` of the area; 0: none.

    Returns:
      The mixed images and their targets.

    Examples:
      >>> images = jnp.stack([jnp.zeros((8, 8, 1)), jnp.ones((8, 8, 1))])
      >>> _, targets = mix(jax.random.key(0), images, jnp.eye(2), mixup=0.2, cutmix=0.0)
      >>> bool(jnp.allclose(targets.sum(-1), 1))
      True
    """
    coin, share, place = jax.random.split(key, 3)
    masks = []  # an image's share of itself at each pixel
    if mixup:
        own = _share(share, mixup)
        masks.append(jnp.broadcast_to(own, images.shape[1:3]))
    if cutmix:
        own = _share(share, cutmix)
        masks.append(_outside_of_rectangle(place, images.shape[1:3], 1 - own))
    mask = masks[0]
    if len(masks) > 1:
        mask = jnp.where(jax.random.bernoulli(coin, jnp.float32(0.5)), masks[0], masks[1])
    own = jnp.mean(mask)  # exact: the rectangle is cut to whole pixels within the image
    mixed = _weighted(mask[None, :, :, None].astype(images.dtype), images)
    return mixed, _weighted(own.astype(targets.dtype), targets)


def _weighted(own, of):
    return own * of + (1 - own) * of[::-1]


def _share(key, alpha):
    if alpha == 1:  # uniform; drawing from a beta distribution is a costly loop of rejections
        return jax.random.uniform(key, dtype=jnp.float32)
    return jax.random.beta(key, alpha, alpha, dtype=jnp.float32)


def _outside_of_rectangle(key, shape, area):
    """A mask, float32 ``[H, W]``: 0 inside a random rectangle of ``area`` (0 to 1), 1 outside.

    The rectangle's centre is anywhere in the image, and its edges are cut to the image.
    """
    sides = jnp.array(shape, jnp.float32)
    centers = jax.random.uniform(key, (2,), jnp.float32) * sides
    half_sides = jnp.sqrt(area) * sides / 2
    inside = []
    for size, center, half in zip(shape, centers, half_sides, strict=True):
        position = jnp.arange(size, dtype=jnp.float32) + 0.5
        inside.append((position >= center - half) & (position < center + half))
    return 1 - (inside[0][:, None] & inside[1][None]).astype(jnp.float32)
