"""The paper's recipe: 18-layer + wide RiR on CIFAR-10, SGD, batch 500, 82 epochs.

The other configs are changes to this one. The fields, their defaults and what is allowed stand
in rir_jax/config.py.
"""

import rir_jax


def get_config():
    return rir_jax.default_config()
