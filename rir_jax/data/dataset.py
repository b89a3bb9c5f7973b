"""What every source yields: two splits of uint8 images in memory, and what describes them."""

import dataclasses
import reprlib
from collections.abc import Mapping
from typing import Any

import numpy as np

from rir_jax.data.images import check_channels
from rir_jax.errors import InputError


@dataclasses.dataclass(frozen=True)
class Split:
    """Images ``uint8 [N, H, W, C]`` and labels ``int32 [N]``."""

    images: np.ndarray
    labels: np.ndarray

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, index: np.ndarray) -> "Split":
        return Split(self.images[index], self.labels[index])


def check_split(split: Split, class_names: tuple[str, ...], owner: str) -> None:
    """Checks that a split is what it says it is, wherever it was read from.

    Args:
      split: of any arrays.
      class_names: of its labels.
      owner: of the split, for messages: "'train' of dataset 'cifar10'".

    Raises:
      InputError: no images, of another type or of channels that networks do not take, or labels
        that are none of the classes.
    """
    images, labels, count = split.images, split.labels, len(class_names)
    if images.ndim != 4 or images.dtype != np.uint8 or not images.size:
        raise InputError(
            f"{owner} has images {images.dtype} {images.shape}; allowed: uint8 [N, H, W, C]"
        )
    check_channels(images.shape[-1], owner)
    wrong = np.flatnonzero((labels < 0) | (labels >= count))
    if len(wrong):
        raise InputError(
            f"{owner} has {len(wrong):,} labels of {len(labels):,} that are none of its {count} "
            f"classes, the first is {labels[wrong[0]]}; allowed: 0 to {count - 1} (-1 marks images "
            "without a label: leave them out when preparing the set)"
        )


@dataclasses.dataclass(frozen=True)
class Dataset:
    """A training split, a split to report on, and what a trained network needs to know of them.

    Attributes:
      name: as in the config.
      train: what is trained on.
      held_out: what is reported on: the test split, or a part held out of the training split.
      held_out_name: "test" or "validation".
      class_names: one for each label.
      mean, std: of the training images by channel, float64 ``[C]``, in units of the pixels (0-255).
    """

    name: str
    train: Split
    held_out: Split
    held_out_name: str
    class_names: tuple[str, ...]
    mean: np.ndarray
    std: np.ndarray

    @property
    def image_shape(self) -> tuple[int, int, int]:
        return self.train.images.shape[1:]

    def described(self) -> dict[str, Any]:
        """What a checkpoint keeps of the data, as JSON values."""
        return {
            "name": self.name,
            "num_train_images": len(self.train),
            "image_shape": list(self.image_shape),
            "class_names": list(self.class_names),
            "mean": self.mean.tolist(),
            "std": self.std.tolist(),
        }

    def check_same(self, known: Mapping[str, Any], owner: str) -> None:
        """Checks that these are the data that a network was trained on, as far as it knows them.

        Args:
          known: some of what `described` gave of those.
          owner: the network, for messages.

        Raises:
          InputError: naming the first difference.
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
    if field in ("mean", "std"):  # in float32 in some places, and JPEG's decoders differ a little
        return np.shape(before) == np.shape(now) and np.allclose(before, now, rtol=0, atol=0.01)
    return (list(before) if isinstance(before, tuple) else before) == now


_brief = reprlib.Repr()  # of values in messages
_brief.maxstring = 80
_brief.maxlist = _brief.maxtuple = 20


def make_dataset(
    name: str,
    train: Split,
    test: Split,
    class_names: tuple[str, ...],
    validation_fraction: float = 0.0,
) -> Dataset:
    """Puts a source's splits together; holds a part of the training split out if asked to.

    The part held out is stratified by class and always the same, whatever the run's seed, so
    that runs compare.

    Raises:
      InputError: the fraction leaves a split empty.
    """
    held_out, held_out_name = test, "test"
    if validation_fraction:
        chosen = _stratified_choice(train.labels, validation_fraction)
        if not 0 < chosen.sum() < len(train):
            raise InputError(
                f"dataset.validation_fraction is {validation_fraction}; of the {len(train)} "
                f"training images of {name!r} it leaves none to train on or none to hold out"
            )
        held_out, held_out_name = train.take(chosen), "validation"
        train = train.take(~chosen)
    mean, std = channel_statistics(train.images)
    return Dataset(name, train, held_out, held_out_name, class_names, mean, std)


def channel_statistics(images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation by channel, float64 ``[C]``, from exact integer sums.

    A channel without any variation gets a deviation of 1, so that dividing by it is harmless.
    """
    counts = [np.bincount(images[..., c].ravel(), minlength=256) for c in range(images.shape[-1])]
    values = np.arange(256, dtype=np.float64)
    mean = np.array([(count * values).sum() / count.sum() for count in counts])
    square = np.array([(count * values**2).sum() / count.sum() for count in counts])
    std = np.sqrt(np.maximum(square - mean**2, 0.0))
    return mean, np.where(std > 0, std, 1.0)


def _stratified_choice(labels, fraction):
    """A mask of about ``fraction`` of every class, the same on every call."""
    random = np.random.default_rng(0)
    chosen = np.zeros(len(labels), bool)
    for label in np.unique(labels):
        members = random.permutation(np.flatnonzero(labels == label))
        chosen[members[: round(len(members) * fraction)]] = True
    return chosen
