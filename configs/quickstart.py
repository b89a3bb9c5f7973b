"""RiR-32 on scikit-learn's handwritten digits: real images, no download, about a minute.

python -m rir_jax.train --config=quickstart --workdir=runs/quickstart
"""

import rir_jax


def get_config():
    config = rir_jax.default_config()
    config.model.name = "rir32"
    config.dataset.name = "digits"
    config.augment.crop_padding = 1
    config.augment.flip = False
    config.train.batch_size = 64
    config.train.epochs = 20
    config.train.log_every_steps = 11
    config.optimizer.learning_rate = 0.05
    config.schedule.milestones = (12, 17)
    return config
