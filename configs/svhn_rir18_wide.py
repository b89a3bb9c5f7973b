"""The 18-layer + wide RiR on SVHN's cropped digits, which must not be mirrored.

    python -m rir_jax.prepare --dataset=svhn_cropped
    python -m rir_jax.train --config=svhn_rir18_wide --workdir=runs/svhn_rir18_wide

The paper has no figure for it.
"""

from rir_jax import default_config


def get_config():
    config = default_config()
    config.dataset.name = "svhn_cropped"
    config.augment.flip = False
    return config
