"""From a config to the things of a run: data, network, optimizer, programs. Writes nothing."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import ml_collections

from rir_jax import config as configs
from rir_jax.data import sources
from rir_jax.data.dataset import Dataset
from rir_jax.data.pipeline import Batches
from rir_jax.errors import InputError
from rir_jax.models.network import Network
from rir_jax.models.zoo import create_model
from rir_jax.parallel import create_mesh
from rir_jax.training import objective
from rir_jax.training.engine import Engine


@dataclasses.dataclass(frozen=True)
class Setup:
    """What a run is made of.

    Attributes:
      config: validated.
      dataset: in the host's memory.
      engine: the compiled programs, over the run's mesh.
      schedule: step to learning rate.
    """

    config: ml_collections.ConfigDict
    dataset: Dataset
    engine: Engine
    schedule: Any

    @property
    def total_steps(self) -> int:
        return self.config.train.epochs * self.engine.batches.steps_per_epoch


def compute_dtype(config: ml_collections.ConfigDict):
    """The config's compute dtype; unset, float32 on CPU and bfloat16 elsewhere."""
    unset = "float32" if jax.default_backend() == "cpu" else "bfloat16"
    return jnp.dtype(config.compute_dtype or unset)


def build_model(config: ml_collections.ConfigDict, num_classes: int) -> Network:
    """The network that a config describes."""
    fields = configs.model_fields(config)
    return create_model(config.model.name, num_classes, dtype=compute_dtype(config), **fields)


def build_optimizer(config: ml_collections.ConfigDict, steps_per_epoch: int):
    """The optimizer that a config describes, and its schedule."""
    schedule = objective.learning_rate_schedule(
        config.optimizer.learning_rate,
        config.schedule.milestones,
        config.schedule.factor,
        steps_per_epoch,
    )
    optimizer = objective.sgd(schedule, config.optimizer.momentum, config.optimizer.weight_decay)
    return optimizer, schedule


def build_engine(
    config: ml_collections.ConfigDict, num_classes: int, num_images: int, image_shape, mesh
) -> tuple[Engine, Any]:
    """The programs of a run, from the config and the data's shapes; and the schedule."""
    batches = Batches(
        config.train.batch_size,
        num_images,
        tuple(image_shape),
        config.augment.crop_padding,
        config.augment.flip,
        mesh,
    )
    optimizer, schedule = build_optimizer(config, batches.steps_per_epoch)
    model = build_model(config, num_classes)
    return Engine(model, optimizer, batches), schedule


def build(config: ml_collections.ConfigDict) -> Setup:
    """Loads the data and makes the network and its programs.

    Raises:
      InputError: a field that is not allowed, or that does not fit the data or the devices.
    """
    configs.validate(config)
    mesh = create_mesh(config.train.batch_size, config.mesh.data)
    dataset = sources.load(
        config.dataset.name, config.dataset.data_dir, config.dataset.validation_fraction
    )
    check_fits(config, len(dataset.train), dataset.image_shape)
    engine, schedule = build_engine(
        config, len(dataset.class_names), len(dataset.train), dataset.image_shape, mesh
    )
    return Setup(config, dataset, engine, schedule)


def check_fits(config: ml_collections.ConfigDict, num_images: int, image_shape) -> None:
    """Checks the fields whose bounds depend on the data.

    Raises:
      InputError: a batch larger than the training set, a crop padding larger than an image.
    """
    if config.train.batch_size > num_images:
        raise InputError(
            f"train.batch_size is {config.train.batch_size}; allowed: up to {num_images}, the "
            f"training images of {config.dataset.name!r}"
        )
    side = min(image_shape[:2])
    if config.augment.crop_padding > side:
        raise InputError(
            f"augment.crop_padding is {config.augment.crop_padding}; allowed: up to {side}, the "
            f"side of the images of {config.dataset.name!r}"
        )
