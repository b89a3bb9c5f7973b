"""The data of both contenders, and the measure of their memory."""

import resource

import numpy as np


def random_dataset(num_train: int, num_test: int | None = None):
    """A `Dataset` of random images of CIFAR-10's shape; by default with as many test images."""
    from rir_jax.data.dataset import Dataset, Split

    random = np.random.default_rng(0)
    splits = []
    for size in (num_train, num_test or num_train):
        images = random.integers(0, 256, (size, 32, 32, 3)).astype(np.uint8)
        splits.append(Split(images, random.integers(0, 10, size).astype(np.int32)))
    return Dataset(splits[0], splits[1], tuple("0123456789"), name="random")


def peak_of_process() -> int:
    """The most memory that this process has had, in bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
