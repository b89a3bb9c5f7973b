"""The fields of a run's config: their defaults, which are the paper's recipe, and their bounds.

`default_config` makes an ml_collections ``ConfigDict``; files in ``configs/`` change what differs
in theirs. `validate` checks every field before anything is loaded or written.
"""

import ast
import dataclasses
import itertools
import math
import operator
import re
import reprlib
import textwrap
from collections.abc import Callable
from typing import Any

import ml_collections
from flax.traverse_util import flatten_dict, unflatten_dict
from ml_collections import config_dict

from rir_jax.errors import InputError
from rir_jax.models import network, zoo
from rir_jax.models.fields import plain
from rir_jax.typed_config import Fields


@dataclasses.dataclass(frozen=True)
class Field:
    """A field of the config.

    Attributes:
      type: of its values; a float field takes whole numbers too.
      default: its value when a config does not set it; None for "unset", where that is allowed.
      doc: what it means, in a line.
      allowed: its values in words, for error messages.
      check: whether a value of the right type is allowed.
      extremes: the least and the largest value of a number.
    """

    type: type
    default: Any
    doc: str
    allowed: str
    check: Callable[[Any], bool] = lambda value: True
    extremes: tuple[float, float] | None = None


def _whole(default, doc, low=1, high=2**31 - 1):
    allowed = f"a whole number from {low} to {high}"
    return Field(int, default, doc, allowed, lambda value: low <= value <= high, (low, high))


def _choice(default, choices, doc):
    return Field(str, default, doc, ", ".join(sorted(choices)), lambda value: value in choices)


def _model_choice(field, doc):
    return _choice(None, network.CHOICES[field], doc)


SMALLEST, LARGEST = 1.2e-38, 3e38
"""Positive numbers that float32, in which a run computes, holds in full."""


def _number(default, doc, low=SMALLEST, high=LARGEST, or_zero=False):
    allowed = f"{'0, or ' if or_zero else ''}a number from {low:.7g} to {high:.7g}"
    return Field(
        float,
        default,
        doc,
        allowed,
        lambda value: low <= value <= high or (or_zero and value == 0),
        (low, high),
    )


def _part(default, doc):
    return _number(default, doc, 0, 0.9999999)  # the largest below 1 that float32 tells from it


def _mixing(doc):
    return _number(0.0, doc, 1e-3, 100, or_zero=True)  # below, the shares drawn become nan


def _flag(default, doc):
    return Field(bool, default, doc, "True or False")


def _widths(doc):
    return Field(
        tuple, None, doc, "a tuple of whole numbers of 1 or more, such as (16, 32, 64) or (16,)"
    )


def _increasing(values):
    whole = all(isinstance(value, int) and not isinstance(value, bool) for value in values)
    return whole and all(a < b for a, b in zip((0, *values), values, strict=False))


def _is_digest(value):
    return re.fullmatch(r"[0-9a-f]{16}", value) is not None


def _are_parts(values):
    named = [isinstance(value, str) and re.fullmatch(r"stem|stage\d+", value) for value in values]
    return all(named) and len(set(values)) == len(values)


_WORD = r"[A-Za-z0-9_][A-Za-z0-9_.+-]{0,99}"  # a part of a path, and none that leads upwards

FIELDS: dict[str, Field] = {
    "seed": _whole(0, "random seed of weights, order of the images, augmentation", 0, 2**32 - 1),
    "num_seeds": _whole(
        1, "networks to train, of seed, seed + 1, ..., each in its own folder", 1, 1000
    ),
    "compute_dtype": _choice(
        None,
        ("float32", "bfloat16"),
        "type of computation; unset: float32 on a CPU, bfloat16 elsewhere",
    ),
    "model.name": _choice(
        "rir18_wide", zoo.list_models(), "the network; it sets the fields of model that are unset"
    ),
    "model.two_streams": _flag(None, "a residual and a transient stream in place of one"),
    "model.outer_shortcut": _model_choice(
        "outer_shortcut", "where the shortcut of a block is added"
    ),
    "model.stem_width": _whole(None, "channels of the first convolution"),
    "model.widths": _widths("channels of each stage, both streams together"),
    "model.blocks": _widths("residual blocks of each stage"),
    "model.layers_per_block": _whole(None, "layers of a residual block", high=1000),
    "model.shortcut": _model_choice("shortcut", "the kind of shortcut where the shape changes"),
    "model.stride_layer": _model_choice("stride_layer", "the layer of a block that has its stride"),
    "model.head": _model_choice(
        "head", "1x1 convolution, batch norm, pooling; or pooling, dense layer"
    ),
    "model.head_relu": _flag(None, "a ReLU after the batch norm of a 'conv' head"),
    "model.use_bias": _flag(None, "biases in the convolutions"),
    "model.kernel_init": _model_choice(
        "kernel_init", "initialization of kernels: He et al. or Glorot"
    ),
    "model.norm_momentum": _part(None, "part of the running statistics that is kept in a step"),
    "model.norm_epsilon": _number(None, "what is added to variances", 1e-12, 1),
    "dataset.name": Field(
        str,
        "cifar10",
        "the data set",
        "'digits' or the name of a TFDS set, as NAME or NAME/CONFIG",
        lambda value: re.fullmatch(rf"{_WORD}(/{_WORD})?", value) is not None,
    ),
    "dataset.data_dir": Field(
        str,
        None,
        "where prepared sets are; unset: where TFDS keeps them",
        "a folder of prepared TFDS sets",
        lambda value: value and "\0" not in value,
    ),
    "dataset.validation_fraction": _part(
        0.0, "part of the training set to report on in place of the test split"
    ),
    "dataset.num_train": _whole(None, "training images to use; unset: all"),
    "dataset.num_test": _whole(None, "test images to use; unset: all"),
    "dataset.digest": Field(
        str,
        None,
        "which arrays the run is of; train_and_evaluate(dataset=) fills it in",
        "16 hexadecimal digits",
        _is_digest,
    ),
    "init.weights": Field(
        str,
        None,
        "trained weights to start from; unset: from nothing",
        "the name of a published network, a folder of weights, or the workdir of a finished run",
        lambda value: value and "\0" not in value,
    ),
    "init.digest": Field(
        str,
        None,
        "which weights the run started from; the run fills it in",
        "16 hexadecimal digits",
        _is_digest,
    ),
    "init.freeze": Field(
        tuple,
        (),
        "parts that stay as they were trained, with batch norm by its running statistics",
        "names of parts, such as stem,stage1",
        _are_parts,
    ),
    "augment.crop_padding": _whole(
        4, "zeros around an image before it is cropped at random", 0, 1024
    ),
    "augment.flip": _flag(True, "mirror images at random"),
    "augment.mixup": _mixing("alpha of mixup"),
    "augment.cutmix": _mixing("alpha of CutMix"),
    "train.batch_size": _whole(500, "images of a step, over all devices"),
    "train.epochs": _whole(82, "passes over the training set", high=1_000_000),
    "train.log_every_steps": _whole(50, "steps whose means make a record of the metrics"),
    "train.label_smoothing": _part(
        0.0, "part of a label's probability that is spread over all classes"
    ),
    "train.average_decay": _part(
        0.0, "decay of the average of the weights that is evaluated; 0: no average"
    ),
    "train.time_limit": Field(
        str,
        None,
        "when to stop at a checkpoint; the same command goes on from there",
        "seconds, or a number with s, m or h, such as 9m",
        lambda value: seconds(value) > 0,
    ),
    "optimizer.learning_rate": _number(
        0.1, "the highest learning rate: the first, or that after a warm-up"
    ),
    "optimizer.momentum": _part(0.9, "momentum of SGD"),
    "optimizer.weight_decay": _number(
        1e-4, "factor of the L2 penalty on the kernels", or_zero=True
    ),
    "optimizer.decay_identity": _flag(
        False, "ablation: the L2 penalty is on kernels plus identity"
    ),
    "optimizer.nesterov": _flag(False, "Nesterov's momentum"),
    "schedule.kind": _choice(
        "steps", ("steps", "cosine"), "drops of the learning rate, or a cosine"
    ),
    "schedule.warmup_epochs": _whole(
        0, "epochs of a rising learning rate before a cosine", 0, 1_000_000
    ),
    "schedule.milestones": Field(
        tuple,
        (42, 62),
        "epochs after which the learning rate drops",
        "increasing whole numbers of epochs, such as (42, 62), (2,) for one or () for none",
        _increasing,
    ),
    "schedule.factor": _number(0.1, "what a drop multiplies the learning rate by"),
    "eval.batch_size": _whole(500, "images of a step of evaluation"),
    "eval.every_epochs": _whole(1, "epochs between evaluations; the last is always evaluated"),
    "checkpoint.every_epochs": _whole(1, "epochs between checkpoints"),
    "checkpoint.keep": _whole(2, "newest checkpoints that are kept"),
    "mesh.data": _whole(
        None, "devices that share a batch; unset: as many of those here as divide it"
    ),
    "mesh.seed": _whole(None, "seeds trained at once; unset: as many as the devices are good for"),
}

_ALSO_CALLED = {
    "optimizer.learning_rate": ("lr", "rate", "base_lr", "step_size", "eta"),
    "optimizer.weight_decay": ("wd", "l2", "decay", "regularization"),
    "optimizer.momentum": ("beta", "mom"),
    "train.batch_size": ("bs", "batch", "minibatch", "batchsize"),
    "train.epochs": ("num_epochs", "max_epochs", "n_epochs", "passes"),
    "train.label_smoothing": ("smoothing",),
    "train.average_decay": ("ema", "ema_decay", "polyak"),
    "train.log_every_steps": ("log_interval", "print_freq", "log_freq"),
    "schedule.milestones": ("drops", "steps", "decay_epochs", "boundaries"),
    "schedule.factor": ("gamma", "drop", "decay_rate"),
    "schedule.kind": ("scheduler", "sched", "lr_schedule"),
    "schedule.warmup_epochs": ("warmup",),
    "augment.crop_padding": ("padding", "crop", "random_crop"),
    "augment.flip": ("hflip", "mirror", "horizontal_flip"),
    "compute_dtype": ("dtype", "precision", "amp", "bf16", "half"),
    "dataset.name": ("dataset", "dataset_name"),
    "dataset.data_dir": ("data_path", "root", "datadir"),
    "dataset.validation_fraction": ("val_split", "validation", "val"),
    "model.name": ("model", "arch", "architecture", "network"),
    "model.widths": ("channels", "width"),
    "model.blocks": ("depth", "num_blocks"),
    "num_seeds": ("seeds", "repeats"),
    "seed": ("random_seed", "rng"),
    "checkpoint.every_epochs": ("save_interval", "save_freq"),
}
"""What other programs call a field: a suggestion goes by the meaning before it goes by letters."""

INERT_FIELDS = (
    "mesh.data",
    "mesh.seed",
    "init.weights",  # init.digest says what they are, wherever they are
    "train.time_limit",
    "dataset.data_dir",
    "eval.batch_size",
    "checkpoint.every_epochs",
    "checkpoint.keep",
)
"""Fields that do not change what a run computes: a run may be resumed with others."""

MAX_LAYERS = 10_000
"""In all blocks of a network: a slip of the finger is told of, before it takes all memory."""

_brief = reprlib.Repr()  # of values in messages
_brief.maxstring = _brief.maxother = 80
_brief.maxtuple = 20


def seconds(text: str) -> float:
    """A duration in seconds: "540", "540s", "9m" or "1.5h"; nan if it is none of these.

    >>> seconds("9m")
    540.0
    """
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([smh]?)", text)
    return float(match[1]) * {"": 1, "s": 1, "m": 60, "h": 3600}[match[2]] if match else math.nan


def describe_fields() -> str:
    """All fields as lines of text, for ``--help``: type, default, meaning and what is allowed."""
    lines = []
    for path, field in FIELDS.items():
        default = "unset" if field.default is None else field.default
        lines += [
            f"  {path} ({field.type.__name__}, {default})",
            f"    {field.doc}; allowed: {_allowed(field)}",
        ]
    return "\n".join(lines)


class Config(Fields):
    """A locked ``ConfigDict`` whose fields an editor knows; `default_config` makes one.

    It prints as what differs from the defaults, and ``config.to_yaml()`` as a whole.

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
    """The paper's recipe for its ``18-layer + wide RiR`` on CIFAR-10, locked.

    >>> default_config().train.batch_size
    500
    """
    values = {
        path: config_dict.placeholder(field.type) if field.default is None else field.default
        for path, field in FIELDS.items()
    }
    return Config(unflatten_dict(values, sep=".")).lock()


def drops(config: ml_collections.ConfigDict) -> list[int]:
    """The epochs after which the rate drops. Milestones past the end never come."""
    if config.schedule.kind != "steps":
        return []
    return [epoch for epoch in config.schedule.milestones if epoch < config.train.epochs]


def of_seed(config: ml_collections.ConfigDict, seed: int) -> Config:
    """The config of one seed of a run of several, as of a run of its own."""
    return with_fields(config, {"seed": seed, "num_seeds": 1, "mesh.seed": None})


def flatten(config: ml_collections.ConfigDict) -> dict[str, Any]:
    """``{"train.epochs": 82, ...}``, plain Python values, with None for what is unset."""
    return {path: plain(value) for path, value in flatten_dict(config.to_dict(), sep=".").items()}


def from_flat(values: dict[str, Any]) -> Config:
    """The inverse of `flatten`, also after JSON; fields that are absent keep their defaults.

    Raises:
      InputError: an unknown field or a value of another type.
    """
    config = default_config()
    for path, value in values.items():
        value = plain(value)
        _check(path, value)
        group, _, name = path.rpartition(".")
        holder = config[group] if group else config
        with holder.ignore_type():
            holder[name] = value
    return config


def with_fields(config: ml_collections.ConfigDict, values: dict[str, Any]) -> Config:
    """A config with other values of some fields, flat; raises as `from_flat`."""
    return from_flat(flatten(config) | values)


def validate(config: ml_collections.ConfigDict) -> None:
    """Checks that a config has the known fields with allowed values, which fit together.

    Raises:
      InputError: naming the first field that does not, its value and what is allowed.
    """
    values = flatten(config)
    for path, value in values.items():
        _check(path, value)
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
            f"model.blocks is {_brief.repr(model.blocks)} with model.layers_per_block "
            f"{model.layers_per_block}; allowed: up to {MAX_LAYERS:,} layers in all"
        )
    _check_freeze(config, len(model.blocks))


def _check_freeze(config, stages):
    """Checks that what is not trained is there, and was trained before."""
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
    """Checks that each learning rate is one, and that the penalty can do its work with it."""
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
    # With the penalty alone, SGD multiplies a kernel by a factor that is beyond -1 from here on.
    momentum = optimizer.momentum
    most = 2 * (1 + momentum) / (1 + 2 * momentum * optimizer.nesterov) / max(rates)
    if optimizer.weight_decay >= most:
        raise InputError(
            f"optimizer.weight_decay is {optimizer.weight_decay} with rates of up to "
            f"{max(rates):.3g} (optimizer.learning_rate, schedule.factor) and optimizer.momentum "
            f"{momentum}; allowed: less than {most:.3g}, from which on the penalty makes kernels "
            "grow"
        )


def parse_text(path: str, text: str) -> Any:
    """The value of a field, from text as a command line gives it; None unsets one that can be.

    Raises:
      InputError: an unknown field, or a value that is not allowed.
    """
    field = _field(path)
    if text == "None" and field.default is None:
        return None
    try:
        value = _PARSERS[field.type](text)
        _check(path, value)
        return value
    except InputError:
        raise
    except (ValueError, KeyError, SyntaxError, TypeError, MemoryError, RecursionError):
        raise _not_allowed(path, text) from None


def _flag_value(text):
    return {"true": True, "t": True, "1": True, "false": False, "f": False, "0": False}[
        text.lower()
    ]


def _tuple_value(text):
    words = re.fullmatch(r"[a-z]\w*(,[a-z]\w*)*", text)
    return tuple(text.split(",")) if words else ast.literal_eval(text)


_PARSERS: dict[type, Callable[[str], Any]] = {
    int: int,
    float: float,
    str: str,
    tuple: _tuple_value,
    bool: _flag_value,
}


def _field(path):
    if path not in FIELDS:
        raise InputError(f"config field {path!r} is unknown; {_suggest(path)}")
    return FIELDS[path]


def _suggest(path):
    """The field that is meant by its name without a group, by another name, or by its letters."""
    name = path.rpartition(".")[2].lower()
    meant = [field for field in FIELDS if name == field.rpartition(".")[2]]
    meant += [field for field, others in _ALSO_CALLED.items() if name in others]
    if len(meant) == 1:
        return f"did you mean {meant[0]!r}? allowed: the fields that train --help lists"
    return zoo.suggest(path, FIELDS)


def _check(path, value):
    field = _field(path)
    if value is None and field.default is None:
        return
    numeric = field.type in (int, float)
    types = (int, float) if field.type is float else field.type
    right_type = isinstance(value, types) and not (numeric and isinstance(value, bool))
    if not right_type or not field.check(value):
        raise _not_allowed(path, value)


def _not_allowed(path, value):
    return InputError(f"{path} is {_brief.repr(value)}; allowed: {_allowed(FIELDS[path])}")


def _allowed(field):
    return field.allowed if field.default is not None else f"{field.allowed}; None unsets it"


def model_fields(config: ml_collections.ConfigDict) -> dict[str, Any]:
    """The fields of the network that a config sets, by name, as `create_model` takes them."""
    return {
        name: value for name, value in config.model.items() if name != "name" and value is not None
    }
