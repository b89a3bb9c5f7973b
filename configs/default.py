"""The paper's recipe: 18-layer + wide RiR on CIFAR-10, SGD, batch 500, 82 epochs.

The other configs are changes to this one. `python -m rir_jax.train --help` lists the fields, with
their defaults, what they mean and what is allowed.
"""

import rir_jax


def get_config():
    return rir_jax.default_config()
