"""RiR-32 on a few hundred pictures of your own or more; see docs/howto/own_pictures.md.

    python -m rir_jax.prepare --images=DIR --dataset=pictures
    python -m rir_jax.train --config=pictures --workdir=runs/pictures

The batches are small, as the set is small. The cosine schedule needs no milestones, so any number
of epochs will do. Set --config.augment.flip=false if left and right differ, as in letters.
"""

from rir_jax import default_config


def get_config():
    config = default_config()
    config.model.name = "rir32"
    config.dataset.name = "pictures"
    config.train.batch_size = 32
    config.train.epochs = 30
    config.train.log_every_steps = 10
    config.optimizer.learning_rate = 0.05
    config.schedule.kind = "cosine"
    return config
