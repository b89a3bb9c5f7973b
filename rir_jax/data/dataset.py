"""A data set in memory: two splits of uint8 images, their classes and their statistics."""

import dataclasses
import reprlib
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np

from rir_jax import files
from rir_jax.data.images import check_channels
from rir_jax.errors import InputError


@dataclasses.dataclass(frozen=True)
class Split:
    """Images and their labels, as NumPy arrays.

    Attributes:
      images: uint8 ``[N, H, W, C]``.
      labels: int32 ``[N]``; a `Dataset` accepts any integer type.
    """

    images: np.ndarray
    labels: np.ndarray

    def __post_init__(self):
        for name in ("images", "labels"):
            object.__setattr__(self, name, np.asarray(getattr(self, name)))

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, index: np.ndarray) -> "Split":
        """The images and labels at some positions, or where a mask is true."""
        return Split(self.images[index], self.labels[index])


def check_split(split: Split, class_names: Sequence[str], owner: str) -> None:
    """Checks the types, shapes and values of a split.

    Args:
      split: a split of any arrays.
      class_names: names of the classes.
      owner: name of the split in messages: "'train' of dataset 'cifar10'".

    Raises:
      InputError: there are no images, or their type or channels are not allowed; or there is not
        one label for each image, or a label is not a class.
    """
    images, labels, count = split.images, split.labels, len(class_names)
    if images.ndim != 4 or images.dtype != np.uint8 or not images.size:
        raise InputError(
            f"{owner} has images {images.dtype} {images.shape}; allowed: uint8 [N, H, W, C]"
        )
    check_channels(images.shape[-1], owner)
    if labels.shape != images.shape[:1] or not np.issubdtype(labels.dtype, np.integer):
        raise InputError(
            f"{owner} has labels {labels.dtype} {labels.shape}; allowed: a whole number for "
            f"each of its {len(images):,} images"
        )
    wrong = np.flatnonzero((labels < 0) | (labels >= count))
    if len(wrong):
        raise InputError(
            f"{owner} has {len(wrong):,} labels of {len(labels):,} outside its {count} "
            f"classes, the first is {labels[wrong[0]]}; allowed: 0 to {count - 1} (-1 marks images "
            "without a label: leave them out when preparing the set)"
        )


@dataclasses.dataclass(frozen=True)
class Dataset:
    """Images to train on, images to report on, and the names of their classes.

    Attributes:
      train: split to train on.
      held_out: split to report on: the test split, or a part held out of the training split.
      class_names: names of the labels, from 0 on.
      name: name of the data set, of letters, digits and ``_.+-``, in runs, logs and pictures.
      held_out_name: name of the held-out split, "test" or "validation".

    Raises:
      InputError: images are not uint8 ``[N, H, W, C]`` with 1 or 3 channels, a label is not a
        class, the splits have images of different shapes, or two classes have the same name.

    Examples:
      >>> images = np.zeros((4, 8, 8, 1), np.uint8)
      >>> train, test = Split(images, [0, 1, 0, 1]), Split(images[:2], [0, 1])
      >>> Dataset(train, test, ("cat", "dog"), name="pets").image_shape
      (8, 8, 1)
    """

    train: Split
    held_out: Split
    class_names: tuple[str, ...]
    name: str = "arrays"
    held_out_name: str = "test"

    def __post_init__(self):
        names = tuple(map(str, self.class_names))
        object.__setattr__(self, "class_names", names)
        twice = [one for one in names if names.count(one) > 1]
        if twice:
            raise InputError(
                f"dataset {self.name!r} has two classes {twice[0]!r}; allowed: names that differ"
            )
        for field, kind in (("train", "train"), ("held_out", self.held_out_name)):
            split = getattr(self, field)
            check_split(split, names, f"{kind!r} of dataset {self.name!r}")
            small = Split(split.images, split.labels.astype(np.int32, copy=False))
            object.__setattr__(self, field, small)
        shapes = [split.images.shape[1:] for split in (self.train, self.held_out)]
        if shapes[0] != shapes[1]:
            raise InputError(
                f"dataset {self.name!r} has images {shapes[0]} in 'train' and {shapes[1]} in "
                f"{self.held_out_name!r}; allowed: one shape"
            )

    @cached_property
    def _statistics(self):
        return channel_statistics(self.train.images)

    @property
    def mean(self) -> np.ndarray:
        """The mean of the training images by channel, float64 ``[C]``, for pixels of 0 to 255."""
        return self._statistics[0]

    @property
    def std(self) -> np.ndarray:
        """Their standard deviation by channel, as `mean`; 1 for a channel without variation."""
        return self._statistics[1]

    @cached_property
    def digest(self) -> str:
        """16 hexadecimal digits that change with any image, label or class name."""
        arrays = [
            files.digest_of_array(array)
            for split in (self.train, self.held_out)
            for array in (split.images, split.labels)
        ]
        return files.digest_of_json([*arrays, *self.class_names])[:16]

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """The shape ``(H, W, C)`` of the images."""
        return self.train.images.shape[1:]

    def described(self) -> dict[str, Any]:
        """The description of the data that a checkpoint keeps, as JSON values."""
        return {
            "name": self.name,
            "num_train_images": len(self.train),
            "image_shape": list(self.image_shape),
            "class_names": list(self.class_names),
            "mean": self.mean.tolist(),
            "std": self.std.tolist(),
        }

    def check_same(self, known: Mapping[str, Any], owner: str) -> None:
        """Checks that a network was trained on these data, as far as their descriptions tell.

        Args:
          known: entries of `described` of the data that the network was trained on.
          owner: name of the network in messages.

        Raises:
          InputError: an entry differs; names the first.
        """
        now = self.described()
        for field, before in known.items():
            if not _same(field, before, now[field]):
                words = field.replace("_", " ")
                raise InputError(
                    f"dataset {self.name!r} is not what {owner} was trained on: its {words} "
                    f"{_brief.repr(now[field])}, then {_brief.repr(before)}"
                )


def _same(field, before, now):
    if field in ("mean", "std"):  # some places keep float32, and JPEG decoders differ a little
        return np.shape(before) == np.shape(now) and np.allclose(before, now, rtol=0, atol=0.01)
    return (list(before) if isinstance(before, tuple) else before) == now


_brief = reprlib.Repr()  # shortens values in messages
_brief.maxstring = 80
_brief.maxlist = _brief.maxtuple = 20


def part_of(
    whole: Dataset,
    validation_fraction: float = 0.0,
    num_train: int | None = None,
    num_test: int | None = None,
) -> Dataset:
    """A data set with fewer images, or with a part of its training split held out.

    The part held out is stratified by class, and the same for every seed, so that runs compare.

    Args:
      whole: the whole data set, with its own test split.
      validation_fraction: part of the training split to hold out and report on; 0: none.
      num_train: number of training images to use, the first ones; None: all.
      num_test: number of test images to use, the first ones; None: all.

    Raises:
      InputError: there are fewer images, or the fraction leaves a split empty.
    """
    name = whole.name
    train = _first(whole.train, num_train, "dataset.num_train", "training", name)
    held_out = _first(whole.held_out, num_test, "dataset.num_test", "test", name)
    held_out_name = whole.held_out_name
    if validation_fraction:
        chosen = _stratified_choice(train.labels, validation_fraction)
        if not 0 < chosen.sum() < len(train):
            raise InputError(
                f"dataset.validation_fraction is {validation_fraction}; of the {len(train)} "
                f"training images of {name!r} it leaves none to train on or none to hold out"
            )
        held_out, held_out_name = train.take(chosen), "validation"
        train = train.take(~chosen)
    return Dataset(train, held_out, whole.class_names, name, held_out_name)


def _first(split, count, field, kind, name):
    if count is None:
        return split
    if count > len(split):
        raise InputError(
            f"{field} is {count}; allowed: up to {len(split)}, the {kind} images of {name!r}"
        )
    return split.take(np.arange(count))


def channel_statistics(images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation by channel, float64 ``[C]``, from exact integer sums.

    A channel without variation gets a deviation of 1, so that dividing by it is harmless.
    """
    counts = [np.bincount(images[..., c].ravel(), minlength=256) for c in range(images.shape[-1])]
    values = np.arange(256, dtype=np.float64)
    mean = np.array([(count * values).sum() / count.sum() for count in counts])
    square = np.array([(count * values**2).sum() / count.sum() for count in counts])
    std = np.sqrt(np.maximum(square - mean**2, 0.0))
    return mean, np.where(std > 0, std, 1.0)


def _stratified_choice(labels, fraction):
    """A mask that chooses about ``fraction`` of every class, the same on every call."""
    random = np.random.default_rng(0)
    chosen = np.zeros(len(labels), bool)
    for label in np.unique(labels):
        members = random.permutation(np.flatnonzero(labels == label))
        chosen[members[: round(len(members) * fraction)]] = True
    return chosen
