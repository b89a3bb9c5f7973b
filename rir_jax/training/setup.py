"""The parts of a run, built from its config: data, network, optimizer, programs."""

import dataclasses
import itertools
import os
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import ml_collections
import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict

from rir_jax import config as configs
from rir_jax import extras
from rir_jax.data import sources
from rir_jax.data.dataset import Dataset
from rir_jax.data.pipeline import Batches
from rir_jax.devices.mesh import create_mesh, replicate, seeds_at_once
from rir_jax.errors import InputError
from rir_jax.models.network import Network, shortcuts
from rir_jax.models.zoo import create_model
from rir_jax.training import objective
from rir_jax.training.engine import Engine
from rir_jax.training.step import TrainState


@dataclasses.dataclass(frozen=True)
class Setup:
    """The parts of a run.

    Attributes:
      config: the validated config.
      dataset: the data set, in the host's memory.
      engine: the compiled programs, over the run's mesh.
      schedule: the learning rate, as a function of the number of steps taken.
      on_record: a function that is called with each record of the metrics.
      start: trained weights and statistics to start from, by name ("params/stem_conv/kernel", ...);
        entries that are not among them start anew.
    """

    config: ml_collections.ConfigDict
    dataset: Dataset
    engine: Engine
    schedule: Any
    on_record: Callable[[dict[str, Any]], None] | None = None
    start: Mapping[str, np.ndarray] | None = None

    def for_seeds(self, count: int) -> "Setup":
        """This setup, with an engine that trains ``count`` seeds at once."""
        if count == self.engine.num_seeds:
            return self
        mesh = create_mesh(self.config.train.batch_size, self.config.mesh.data, num_seeds=count)
        batches = dataclasses.replace(self.engine.batches, mesh=mesh)
        engine = dataclasses.replace(self.engine, batches=batches, num_seeds=count)
        return dataclasses.replace(self, engine=engine)

    def first_state(self, seed: int) -> TrainState:
        """The state that a seed begins its training with, on every device of the mesh.

        Raises:
          InputError: the config names trained weights that cannot be read or are not finite.
        """
        state, init = self.engine.init(seed), self.config.init
        if self.start is None:
            if init.digest is not None:
                raise InputError(
                    f"init.weights is {init.weights!r}, which cannot be read any more, and the run "
                    "has no checkpoint yet; allowed: the weights that it was started with, or "
                    "another workdir"
                )
            return state
        for name, array in self.start.items():
            if not np.isfinite(array).all():
                raise InputError(
                    f"init.weights is {init.weights!r}, in which {name} is not finite; allowed: "
                    "weights of finite numbers"
                )
        fresh = flatten_dict(state.variables, sep="/")
        taken = {name: array.astype(fresh[name].dtype) for name, array in self.start.items()}
        started = unflatten_dict(fresh | replicate(taken, self.engine.mesh), sep="/")
        return state.replace(**started, average=None if state.average is None else started)

    @property
    def total_steps(self) -> int:
        return self.config.train.epochs * self.engine.batches.steps_per_epoch


def compute_dtype(config: ml_collections.ConfigDict):
    """The config's compute dtype; if it is unset, float32 on CPU and bfloat16 elsewhere."""
    unset = "float32" if jax.default_backend() == "cpu" else "bfloat16"
    return jnp.dtype(config.compute_dtype or unset)


def build_model(config: ml_collections.ConfigDict, num_classes: int) -> Network:
    """The network that a config describes."""
    fields = configs.model_fields(config)
    return create_model(config.model.name, num_classes, dtype=compute_dtype(config), **fields)


def build_optimizer(config: ml_collections.ConfigDict, model: Network, steps_per_epoch: int):
    """The optimizer that a config describes for its network, and the schedule of its rate."""
    if config.schedule.kind == "cosine":
        schedule = objective.cosine_schedule(
            config.optimizer.learning_rate,
            config.train.epochs * steps_per_epoch,
            config.schedule.warmup_epochs * steps_per_epoch,
        )
    else:
        schedule = objective.learning_rate_schedule(
            config.optimizer.learning_rate,
            configs.drops(config),
            config.schedule.factor,
            steps_per_epoch,
        )
    optimizer = objective.sgd(
        schedule,
        config.optimizer.momentum,
        config.optimizer.weight_decay,
        shortcuts=partial(shortcuts, model) if config.optimizer.decay_identity else None,
        nesterov=config.optimizer.nesterov,
        frozen=config.init.freeze,
    )
    return optimizer, schedule


def build_engine(
    config: ml_collections.ConfigDict,
    num_classes: int,
    num_images: int,
    image_shape,
    mesh,
    num_seeds: int = 1,
) -> tuple[Engine, Any]:
    """The programs of a run, from its config and its data's shapes, and the schedule."""
    batches = Batches(
        size=config.train.batch_size,
        num_images=num_images,
        image_shape=tuple(image_shape),
        mesh=mesh,
        num_classes=num_classes,
        **config.augment.to_dict(),
    )
    model = build_model(config, num_classes)
    optimizer, schedule = build_optimizer(config, model, batches.steps_per_epoch)
    engine = Engine(
        model,
        optimizer,
        batches,
        num_seeds=num_seeds,
        label_smoothing=config.train.label_smoothing,
        average_decay=config.train.average_decay,
        frozen=config.init.freeze,
    )
    return engine, schedule


def build(config: ml_collections.ConfigDict, dataset: Dataset | None = None) -> Setup:
    """Loads the data and makes the network and its programs.

    Args:
      config: the validated config.
      dataset: the whole data set, if the run trains on arrays.

    Raises:
      InputError: a field does not fit the data or the devices, or a package is missing.
    """
    extras.require("training", "tensorboardX", "tqdm")
    batch_size, data = config.train.batch_size, config.mesh.data
    at_once = config.mesh.seed or seeds_at_once(config.num_seeds, batch_size, data)
    mesh = create_mesh(batch_size, data, num_seeds=at_once)
    dataset = sources.load_for(config, dataset)
    check_fits(config, len(dataset.train), dataset.image_shape)
    memory = memory_of(jax.local_devices()[0]) // (at_once // mesh.shape["seed"])
    check_memory(config, dataset.image_shape, mesh.shape["data"], memory)
    engine, schedule = build_engine(
        config, len(dataset.class_names), len(dataset.train), dataset.image_shape, mesh, at_once
    )
    return Setup(config, dataset, engine, schedule)


def check_fits(config: ml_collections.ConfigDict, num_images: int, image_shape) -> None:
    """Checks the fields whose bounds depend on the data.

    Raises:
      InputError: the batch is larger than the training set, the crop padding is larger than an
        image, or there are more steps than can be counted.
    """
    if config.train.batch_size > num_images:
        names = ("num_train", "validation_fraction")
        parts = [f"dataset.{name} {config.dataset[name]}" for name in names if config.dataset[name]]
        left = f" with {' and '.join(parts)}" if parts else ""
        raise InputError(
            f"train.batch_size is {config.train.batch_size}; allowed: up to {num_images}, the "
            f"training images of {config.dataset.name!r}{left}"
        )
    side = min(image_shape[:2])
    if config.augment.crop_padding > side:
        raise InputError(
            f"augment.crop_padding is {config.augment.crop_padding}; allowed: up to {side}, the "
            f"side of the images of {config.dataset.name!r}"
        )
    steps = config.train.epochs * (num_images // config.train.batch_size)
    if steps >= 2**31:
        raise InputError(
            f"train.epochs is {config.train.epochs}, which makes {steps} steps; allowed: fewer "
            f"than {2**31} steps in all"
        )


def memory_of(device: jax.Device) -> int:
    """The bytes that programs can use on a device; for a CPU, the machine's memory."""
    stats = device.memory_stats() or {}
    physical = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return stats.get("bytes_limit", physical)


def check_memory(config: ml_collections.ConfigDict, image_shape, num_devices, memory: int) -> None:
    """Refuses a run that cannot fit into memory, before the process is killed for it.

    It counts arrays that must be in memory at once: weights, momentum, gradients and average, and
    the output of every layer, for the backward pass. A run that passes may still be too large.

    Args:
      config: the validated config.
      image_shape: the shape of an image, ``(H, W, C)``.
      num_devices: number of devices that share a batch.
      memory: bytes of memory that one device has for one seed.

    Raises:
      InputError: it does not fit; the message names the field that needs most memory.
    """
    model = build_model(config, num_classes=1)
    height, width, channels = image_shape
    widths, outputs = [channels, model.stem_width], height * width * model.stem_width
    for stage, (wide, blocks) in enumerate(zip(model.widths, model.blocks, strict=True)):
        layers = blocks * model.layers_per_block
        widths += [wide] * layers
        outputs += layers * wide * -(-height // 2**stage) * -(-width // 2**stage)
    weights = 9 * sum(one * next_one for one, next_one in itertools.pairwise(widths))
    copies = 4 if config.train.average_decay else 3
    for_weights = copies * weights * jnp.dtype(model.param_dtype).itemsize
    batch = -(-config.train.batch_size // num_devices)
    for_batch = batch * outputs * jnp.dtype(model.dtype).itemsize
    if for_weights + for_batch > memory:
        field = "model.widths" if for_weights > for_batch else "train.batch_size"
        value = model.widths if for_weights > for_batch else config.train.batch_size
        raise InputError(
            f"{field} is {value}, with which training takes at least "
            f"{(for_weights + for_batch) / 2**30:,.1f} GiB on a device of {memory / 2**30:,.1f}; "
            "allowed: a value that fits"
        )
