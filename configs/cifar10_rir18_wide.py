"""The paper's 18-layer + wide RiR on CIFAR-10: its best network and its recipe.

    python -m rir_jax.prepare --dataset=cifar10
    python -m rir_jax.train --config=cifar10_rir18_wide --workdir=runs/cifar10_rir18_wide

The paper reports 94.99 % test accuracy.
"""

from rir_jax import default_config


def get_config():
    return default_config()
