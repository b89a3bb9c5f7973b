"""What a user writes, for type checkers: `.ci/run` shows it to mypy and to pyright, elsewhere.

Each wrong line is one that they must find: an unneeded "ignore" is an error, too.
"""

# pyright: reportUnnecessaryTypeIgnoreComment=true

import jax
import numpy as np

import rir_jax

config = rir_jax.default_config()
config.train.epochs = 3
config.optimizer.learning_rate = 1
config.schedule.milestones = (2,)
config.model.widths = None
config.train.epochs = "3"  # type: ignore
config.augment.flip = "no"  # type: ignore
epochs: int = config.train.epochs

summary = rir_jax.train_and_evaluate(config, "runs/typed")
if summary is not None:
    print(summary["test_accuracy"])

model, variables, info = rir_jax.load("runs/typed")
images = np.zeros((5, *info.image_shape), np.uint8)
inputs: jax.Array = info.preprocess(images)
info.preprocess("digit.png")  # type: ignore
names: list[str] = rir_jax.list_models()
width: int = model.stem_width
depth: str = model.layers_per_block  # type: ignore
print(model.apply(variables, inputs), width, depth, names, epochs)
