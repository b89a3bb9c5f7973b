"""RiR-32 on pictures of your own, some hundreds or more; see docs/howto/own_pictures.md.

    python -m rir_jax.prepare --images=DIR --dataset=pictures
    python -m rir_jax.train --config=pictures --workdir=runs/pictures

Small batches, as the set is small, and a cosine, which needs no milestones: any number of epochs
will do. --config.augment.flip=false where left and right differ, as in letters.
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
