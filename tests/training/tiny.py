"""A config that trains in a moment, and whose programs all tests share."""

import rir_jax


def tiny_config(**fields):
    """A small RiR on the digits, two epochs of eleven steps.

    ``train__epochs=3`` sets ``train.epochs``.
    """
    config = rir_jax.default_config()
    config.model.name = "rir32"
    config.model.stem_width = 4
    config.model.widths = (4, 8)
    config.model.blocks = (1, 1)
    config.model.layers_per_block = 2
    config.dataset.name = "digits"
    config.augment.crop_padding = 1
    config.train.batch_size = 128
    config.train.epochs = 2
    config.train.log_every_steps = 4
    config.eval.batch_size = 100
    config.optimizer.learning_rate = 0.05
    config.schedule.milestones = (1,)
    config.mesh.data = 1
    for path, value in fields.items():
        group, name = path.split("__")
        config[group][name] = value
    return config
