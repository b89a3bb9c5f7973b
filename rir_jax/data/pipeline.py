"""Batches as a pure function of ``(seed, epoch, step)``: no iterator, no position to lose.

The training split lies on the devices as uint8. An epoch visits it in a permutation drawn from
``(seed, epoch)``; each step's crops and flips are drawn from ``(seed, epoch, step)``. A run resumes
at a step by its number alone.
"""

import dataclasses

import jax
import jax.numpy as jnp
from jax.sharding import NamedSharding, PartitionSpec

from rir_jax import random_numbers
from rir_jax.data import augment, mixing
from rir_jax.data.dataset import Dataset
from rir_jax.devices.mesh import replicate

_PERMUTATION, _AUGMENTATION, _MIXING = 1, 2, 3  # purposes of keys


def device_arrays(dataset: Dataset, mesh) -> dict[str, jax.Array]:
    """The training split and its statistics on every device of the mesh.

    ``images`` is uint8 ``[N, H W C]``, ``labels`` int32 ``[N]``, ``mean`` and ``std`` float32
    ``[C]``. Devices tile the last two axes, and store and gather an image whole if it is one row.
    """
    images = dataset.train.images
    return replicate(
        {
            "images": images.reshape(len(images), -1),
            "labels": dataset.train.labels,
            "mean": dataset.mean.astype("float32"),
            "std": dataset.std.astype("float32"),
        },
        mesh,
    )


@dataclasses.dataclass(frozen=True)
class Batches:
    """The way from the training split to batches: their order, size and augmentation.

    Attributes:
      size: number of images in a batch; an incomplete last batch of an epoch is dropped.
      num_images: number of images in the training split.
      image_shape: shape ``(H, W, C)`` of the images.
      crop_padding: width of the zeros around an image before the random crop.
      flip: whether images are mirrored at random.
      mesh: mesh of devices, whose "data" axis splits a batch.
      mixup: alpha of mixup, see `rir_jax.data.mixing.mix`; 0: none.
      cutmix: alpha of CutMix; 0: none. With either, labels are probabilities of classes.
      num_classes: number of classes of such labels.
    """

    size: int
    num_images: int
    image_shape: tuple[int, int, int]
    crop_padding: int
    flip: bool
    mesh: jax.sharding.Mesh
    mixup: float = 0.0
    cutmix: float = 0.0
    num_classes: int = 0

    @property
    def steps_per_epoch(self) -> int:
        return self.num_images // self.size

    def permutation(self, seed: jax.Array, epoch: jax.Array) -> jax.Array:
        """The order of the training images in an epoch, int32 ``[num_images]``."""
        key = _key(seed, _PERMUTATION, epoch)
        return jax.random.permutation(key, jnp.arange(self.num_images, dtype=jnp.int32))

    def batch(self, arrays, permutation, seed, step) -> tuple[jax.Array, jax.Array]:
        """The batch of a step: normalized images, float32 ``[size, H, W, C]``, and their labels.

        Labels are int32 ``[size]``, or probabilities float32 ``[size, num_classes]`` of mixed
        images. ``step`` counts from the start of the run, and ``permutation`` is its epoch's.
        """
        epoch, position = step // self.steps_per_epoch, step % self.steps_per_epoch
        chosen = jax.lax.dynamic_slice(permutation, (position * self.size,), (self.size,))
        by_image = NamedSharding(_mesh_here(self.mesh), PartitionSpec("data"))
        chosen = jax.lax.with_sharding_constraint(chosen, by_image)
        key = jax.random.fold_in(_key(seed, _AUGMENTATION, epoch), position)
        images = arrays["images"][chosen].reshape(self.size, *self.image_shape)
        images = augment.augment(key, images, self.crop_padding, self.flip)
        images = augment.normalize(images, arrays["mean"], arrays["std"])
        labels = arrays["labels"][chosen]
        if self.mixup or self.cutmix:
            key = jax.random.fold_in(_key(seed, _MIXING, epoch), position)
            labels = jax.nn.one_hot(labels, self.num_classes, dtype=jnp.float32)
            images, labels = mixing.mix(key, images, labels, self.mixup, self.cutmix)
        return jax.lax.with_sharding_constraint(images, by_image), labels


def _mesh_here(mesh):
    """The mesh, or within a `jax.shard_map` that function's view of it."""
    view = jax.sharding.get_abstract_mesh()
    return mesh if view.empty else view


def _key(seed, purpose, epoch):
    return jax.random.fold_in(jax.random.fold_in(random_numbers.key(seed), purpose), epoch)
