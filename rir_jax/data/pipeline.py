"""Batches as a pure function of ``(seed, epoch, step)``: no iterator, no position to lose.

The training split lies on the devices as uint8. An epoch visits it in a permutation drawn from
``(seed, epoch)``; each step's crops and flips are drawn from ``(seed, epoch, step)``. Resuming
at a step needs nothing but its number.
"""

import dataclasses

import jax
import jax.numpy as jnp
from jax.sharding import NamedSharding, PartitionSpec

from rir_jax import random_numbers
from rir_jax.data import augment, mixing
from rir_jax.data.dataset import Dataset
from rir_jax.devices.mesh import replicate

_PERMUTATION, _AUGMENTATION, _MIXING = 1, 2, 3  # what a key is for


def device_arrays(dataset: Dataset, mesh) -> dict[str, jax.Array]:
    """The training split and its statistics on every device of the mesh.

    ``images`` uint8 ``[N, H W C]``, ``labels`` int32 ``[N]``, ``mean``, ``std`` float32 ``[C]``. An
    image is one row, so that devices which tile the last two axes store and gather it whole.
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
    """How training batches are cut and augmented.

    Attributes:
      size: images a batch; an incomplete last batch of an epoch is dropped.
      num_images: in the training split.
      image_shape: ``(H, W, C)``.
      crop_padding: zeros around an image before the random crop.
      flip: whether images are mirrored at random.
      mixup: see `rir_jax.data.mixing.mix`; labels are probabilities with it.
      cutmix: the same.
      num_classes: how many classes such labels have probabilities for.
      mesh: over whose "data" axis a batch is split.
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
        """Images float32 ``[size, H, W, C]``, normalized, and labels int32 ``[size]`` of a step.

        Mixed images have probabilities for labels, float32 ``[size, num_classes]``.
        ``step`` counts from the start of the run; ``permutation`` is that of its epoch.
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
    """The mesh as seen from where this is traced: within a `jax.shard_map`, that one's view."""
    view = jax.sharding.get_abstract_mesh()
    return mesh if view.empty else view


def _key(seed, purpose, epoch):
    return jax.random.fold_in(jax.random.fold_in(random_numbers.key(seed), purpose), epoch)
