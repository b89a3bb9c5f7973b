"""What both sides are given, and how both are weighed."""

import resource

import numpy as np


def random_dataset(num_train, num_test=None):
    """Random images of CIFAR-10's shape, as a `Dataset`; as many to evaluate, unless said."""
    from rir_jax.data.dataset import Split, make_dataset

    random = np.random.default_rng(0)
    splits = []
    for size in (num_train, num_test or num_train):
        images = random.integers(0, 256, (size, 32, 32, 3)).astype(np.uint8)
        splits.append(Split(images, random.integers(0, 10, size).astype(np.int32)))
    return make_dataset("random", *splits, tuple("0123456789"))


def peak_of_process():
    """Bytes of memory that this process had at most."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
