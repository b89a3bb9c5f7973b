"""Configs of runs: the paper's recipe by default, and checks of all fields together.

`default_config` makes an ml_collections ``ConfigDict`` of the fields in `rir_jax.config_fields`.
Files in ``configs/`` change some of them. `validate` runs before anything is loaded or written.
"""

import itertools
import operator
import textwrap
from typing import Any

import ml_collections
from flax.traverse_util import flatten_dict, unflatten_dict
from ml_collections import config_dict

from rir_jax.config_fields import FIELDS, LARGEST, SMALLEST, Group, brief, check
from rir_jax.errors import InputError
from rir_jax.models import zoo
from rir_jax.models.fields import plain
from rir_jax.typed_config import Fields

MAX_LAYERS = 10_000
"""The most layers in all blocks of a network, so that a typing error does not take all memory."""


class Config(Fields):
    """A locked ``ConfigDict`` whose fields editors know; `default_config` makes one.

    It prints the fields that differ from the defaults; ``config.to_yaml()`` has all of them.

    Examples:
      >>> config = default_config()
      >>> config.train.epochs = 3
      >>> config
      Config(train.epochs=3)
    """

    def __repr__(self) -> str:
        changed = [
            f"{path}={value!r}"
            for path, value in flatten(self).items()
            if path not in FIELDS or value != FIELDS[path].default
        ]
        return f"Config({textwrap.shorten(', '.join(changed), 240, placeholder=' ...')})"

    __str__ = __repr__


def default_config() -> Config:
    """The paper's recipe for its ``18-layer + wide RiR`` on CIFAR-10, as a locked config.

    Examples:
      >>> default_config().train.batch_size
      500
    """
    values = {
        path: config_dict.placeholder(field.type) if field.default is None else field.default
        for path, field in FIELDS.items()
    }
    groups = unflatten_dict(values, sep=".")
    return Config(
        {name: Group(g) if isinstance(g, dict) else g for name, g in groups.items()}
    ).lock()


def drops(config: ml_collections.ConfigDict) -> list[int]:
    """The epochs after which the learning rate drops: the milestones before the run's end."""
    if config.schedule.kind != "steps":
        return []
    return [epoch for epoch in config.schedule.milestones if epoch < config.train.epochs]


def of_seed(config: ml_collections.ConfigDict, seed: int) -> Config:
    """The config of one seed of a run of several seeds, as if it ran alone."""
    return with_fields(config, {"seed": seed, "num_seeds": 1, "mesh.seed": None})


def flatten(config: ml_collections.ConfigDict) -> dict[str, Any]:
    """The fields as ``{"train.epochs": 82, ...}``: plain Python values, None for unset ones."""
    return {path: plain(value) for path, value in flatten_dict(config.to_dict(), sep=".").items()}


def from_flat(values: dict[str, Any]) -> Config:
    """The inverse of `flatten`, also after JSON; missing fields keep their defaults.

    Raises:
      InputError: a field is unknown, or its value is not allowed.
    """
    config = default_config()
    for path, value in values.items():
        value = plain(value)
        check(path, value)
        group, _, name = path.rpartition(".")
        holder = config[group] if group else config
        with holder.ignore_type():
            holder[name] = value
    return config


def with_fields(config: ml_collections.ConfigDict, values: dict[str, Any]) -> Config:
    """A config with new values for some fields, given as in `flatten`; raises as `from_flat`."""
    return from_flat(flatten(config) | values)


def validate(config: ml_collections.ConfigDict) -> None:
    """Checks that a config has all fields, with allowed values that fit together.

    Raises:
      InputError: a field is wrong; names the first, its value and the values allowed.
    """
    values = flatten(config)
    for path, value in values.items():
        check(path, value)
    for path in FIELDS:
        if path not in values:
            raise InputError(f"config field {path!r} is missing; start from default_config()")
    last = config.seed + config.num_seeds - 1
    if not FIELDS["seed"].check(last):
        raise InputError(
            f"num_seeds is {config.num_seeds}, from seed {config.seed} on; allowed: up to the last "
            f"seed {2**32 - 1}"
        )
    warmup, kind = config.schedule.warmup_epochs, config.schedule.kind
    if warmup and (kind != "cosine" or warmup >= config.train.epochs):
        raise InputError(
            f"schedule.warmup_epochs is {warmup} with schedule.kind {kind!r} and train.epochs "
            f"{config.train.epochs}; allowed: 0, or with 'cosine' less than train.epochs"
        )
    _check_rates(config)
    if config.mesh.seed is not None and config.mesh.seed > config.num_seeds:
        raise InputError(
            f"mesh.seed is {config.mesh.seed}, seeds at once; allowed: up to num_seeds, "
            f"{config.num_seeds}"
        )
    try:
        model = zoo.create_model(config.model.name, **model_fields(config))
    except ValueError as error:
        raise InputError(f"model.{error}") from None
    layers = sum(model.blocks) * model.layers_per_block
    if layers > MAX_LAYERS:
        raise InputError(
            f"model.blocks is {brief.repr(model.blocks)} with model.layers_per_block "
            f"{model.layers_per_block}; allowed: up to {MAX_LAYERS:,} layers in all"
        )
    _check_freeze(config, len(model.blocks))


def _check_freeze(config, stages):
    """Checks that the frozen parts exist and start from trained weights."""
    parts = ["stem", *(f"stage{stage}" for stage in range(1, stages + 1))]
    unknown = [part for part in config.init.freeze if part not in parts]
    if unknown:
        raise InputError(f"init.freeze names {unknown[0]!r}; allowed: {', '.join(parts)}")
    if config.init.freeze and not (config.init.weights or config.init.digest):
        raise InputError(
            f"init.freeze is {config.init.freeze} without init.weights; allowed: () or trained "
            "weights to keep"
        )


def _check_rates(config):
    """Checks that float32 holds every learning rate, and that the penalty shrinks the kernels."""
    optimizer, factor = config.optimizer, config.schedule.factor
    factors = [optimizer.learning_rate] + [factor] * len(drops(config))
    rates = list(itertools.accumulate(factors, operator.mul))
    for rate in rates:
        if not SMALLEST <= rate <= LARGEST:
            raise InputError(
                f"schedule.factor is {factor}, which brings optimizer.learning_rate "
                f"{optimizer.learning_rate} to {rate:.3g} at the schedule.milestones; allowed: "
                f"rates from {SMALLEST} to {LARGEST}"
            )
    # Above this, SGD on the penalty alone multiplies a kernel by less than -1 in each step.
    momentum = optimizer.momentum
    most = 2 * (1 + momentum) / (1 + 2 * momentum * optimizer.nesterov) / max(rates)
    if optimizer.weight_decay >= most:
        raise InputError(
            f"optimizer.weight_decay is {optimizer.weight_decay} with rates of up to "
            f"{max(rates):.3g} (optimizer.learning_rate, schedule.factor) and optimizer.momentum "
            f"{momentum}; allowed: less than {most:.3g}, from which on the penalty makes kernels "
            "grow"
        )


def model_fields(config: ml_collections.ConfigDict) -> dict[str, Any]:
    """The fields of the network that a config sets, as overrides for `create_model`."""
    return {
        name: value for name, value in config.model.items() if name != "name" and value is not None
    }
