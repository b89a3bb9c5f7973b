"""The paper's 18-layer + wide RiR on CIFAR-100.

    python -m rir_jax.prepare --dataset=cifar100
    python -m rir_jax.train --config=cifar100_rir18_wide --workdir=runs/cifar100

The paper reports 77.10 % test accuracy.
"""

from rir_jax import default_config


def get_config():
    config = default_config()
    config.dataset.name = "cifar100"
    return config
