"""The paper's recipe: 18-layer + wide RiR on CIFAR-10, SGD, batch 500, 82 epochs.

The other configs change fields of this one. `python -m rir_jax.train --help` lists all fields with
their defaults, meanings and allowed values.
"""

import rir_jax


def get_config():
    return rir_jax.default_config()
