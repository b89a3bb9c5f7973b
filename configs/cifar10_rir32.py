"""RiR with the sizes of ResNet-32 on CIFAR-10, with the paper's recipe.

    python -m rir_jax.prepare --dataset=cifar10
    python -m rir_jax.train --config=cifar10_rir32 --workdir=runs/cifar10_rir32

A laptop can train it on a subset: see "On a CPU" in the README. With the medium scale's recipe (20
epochs, batches of 125, a rate of 0.05 that drops after 10 and 15) it reached 86.20 % on the whole
test set, in some four hours of one core: experiments/results/medium/cifar10_32.
"""

from rir_jax import default_config


def get_config():
    config = default_config()
    config.model.name = "rir32"
    return config
