"""The fields of a config: their types, defaults, meanings and bounds; and values from text."""

import ast
import dataclasses
import difflib
import math
import re
import reprlib
from collections.abc import Callable
from typing import Any

import ml_collections

from rir_jax.errors import InputError
from rir_jax.models import network, zoo
from rir_jax.models.fields import plain


@dataclasses.dataclass(frozen=True)
class Field:
    """A field of the config.

    Attributes:
      type: the type of the values; a float field takes whole numbers too.
      default: the value if a config sets none. None stands for an unset field, and is then allowed.
      doc: the meaning, in one line.
      allowed: the allowed values, in words.
      check: function that tells whether a value of the right type is allowed.
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
"""The least and the largest positive number that float32 holds with full precision."""


def _number(default, doc, low=SMALLEST, high=LARGEST, or_zero=False):
    def check(value):
        return low <= value <= high or (or_zero and value == 0)

    allowed = f"{'0, or ' if or_zero else ''}a number from {low:.7g} to {high:.7g}"
    return Field(float, default, doc, allowed, check, (low, high))


def _part(default, doc):
    return _number(default, doc, 0, 0.9999999)  # float32 does not round this up to 1


def _mixing(doc):
    return _number(0.0, doc, 1e-3, 100, or_zero=True)  # a lower alpha draws nan


def _flag(default, doc):
    return Field(bool, default, doc, "True or False")


def _text(default, doc, allowed, pattern):
    def check(value):
        return re.fullmatch(pattern, value) is not None

    return Field(str, default, doc, allowed, check)


def _digest(doc):
    return _text(None, doc, "16 hexadecimal digits", r"[0-9a-f]{16}")


def _widths(doc):
    return Field(
        tuple, None, doc, "a tuple of whole numbers of 1 or more, such as (16, 32, 64) or (16,)"
    )


def _increasing(values):
    whole = all(isinstance(value, int) and not isinstance(value, bool) for value in values)
    return whole and all(a < b for a, b in zip((0, *values), values, strict=False))


def _are_parts(values):
    named = [isinstance(value, str) and re.fullmatch(r"stem|stage\d+", value) for value in values]
    return all(named) and len(set(values)) == len(values)


_WORD = r"[A-Za-z0-9_][A-Za-z0-9_.+-]{0,99}"  # a part of a path, never ".."
_PATH = r"[^\0]+"

FIELDS: dict[str, Field] = {
    "seed": _whole(0, "random seed of weights, image order and augmentation", 0, 2**32 - 1),
    "num_seeds": _whole(1, "number of seeds to train, from seed on, with a folder each", 1, 1000),
    "compute_dtype": _choice(
        None, ("float32", "bfloat16"), "type of computation; unset: float32 on CPU, else bfloat16"
    ),
    "model.name": _choice(
        "rir18_wide", zoo.list_models(), "name of the network, which sets unset model fields"
    ),
    "model.two_streams": _flag(None, "a residual and a transient stream in place of one stream"),
    "model.outer_shortcut": _model_choice("outer_shortcut", "where a block's shortcut is added"),
    "model.stem_width": _whole(None, "channels of the first convolution"),
    "model.widths": _widths("channels of each stage, both streams together"),
    "model.blocks": _widths("residual blocks of each stage"),
    "model.layers_per_block": _whole(None, "layers of a residual block", high=1000),
    "model.shortcut": _model_choice("shortcut", "shortcut where the shape changes"),
    "model.stride_layer": _model_choice("stride_layer", "layer of a block that has its stride"),
    "model.head": _model_choice(
        "head", "conv: 1x1 convolution, batch norm, pooling; dense: pooling, dense layer"
    ),
    "model.head_relu": _flag(None, "a ReLU after the batch norm of a 'conv' head"),
    "model.use_bias": _flag(None, "biases in the convolutions"),
    "model.kernel_init": _model_choice("kernel_init", "initializer: He et al.'s or Glorot's"),
    "model.norm_momentum": _part(None, "part of the running statistics that each step keeps"),
    "model.norm_epsilon": _number(None, "number added to the variances", 1e-12, 1),
    "dataset.name": _text(
        "cifar10",
        "name of the data set",
        "'digits' or the name of a TFDS set, as NAME or NAME/CONFIG",
        rf"{_WORD}(/{_WORD})?",
    ),
    "dataset.data_dir": _text(
        None, "folder of prepared sets; unset: TFDS's own", "a folder of prepared TFDS sets", _PATH
    ),
    "dataset.validation_fraction": _part(
        0.0, "part of the training set to hold out and report on, in place of the test split"
    ),
    "dataset.num_train": _whole(None, "number of training images to use; unset: all"),
    "dataset.num_test": _whole(None, "number of test images to use; unset: all"),
    "dataset.digest": _digest(
        "digest of the arrays to train on, which train_and_evaluate(dataset=) fills in"
    ),
    "init.weights": _text(
        None,
        "trained weights to start from; unset: random ones",
        "the name of a published network, a folder of weights, or the workdir of a finished run",
        _PATH,
    ),
    "init.digest": _digest("digest of the weights to start from, which the run fills in"),
    "init.freeze": Field(
        tuple,
        (),
        "parts that are not trained; their batch norms use the running statistics",
        "names of parts, such as stem,stage1",
        _are_parts,
    ),
    "augment.crop_padding": _whole(4, "zero padding of images before the random crop", 0, 1024),
    "augment.flip": _flag(True, "mirror images at random"),
    "augment.mixup": _mixing("alpha of mixup; 0: none"),
    "augment.cutmix": _mixing("alpha of CutMix; 0: none"),
    "train.batch_size": _whole(500, "images a step, over all devices"),
    "train.epochs": _whole(82, "passes over the training set", high=1_000_000),
    "train.log_every_steps": _whole(50, "steps that each record of the metrics averages"),
    "train.label_smoothing": _part(0.0, "part of a label's probability spread over all classes"),
    "train.average_decay": _part(0.0, "decay of the moving average of weights to use; 0: none"),
    "train.time_limit": Field(
        str,
        None,
        "time after which to stop at a checkpoint; the same command goes on from there",
        "seconds, or a number with s, m or h, such as 9m",
        lambda value: seconds(value) > 0,
    ),
    "optimizer.learning_rate": _number(0.1, "highest learning rate: the first, or after warm-up"),
    "optimizer.momentum": _part(0.9, "momentum of SGD"),
    "optimizer.weight_decay": _number(1e-4, "factor of the L2 penalty on kernels", or_zero=True),
    "optimizer.decay_identity": _flag(False, "ablation: L2 penalty on kernels plus identity"),
    "optimizer.nesterov": _flag(False, "Nesterov's momentum"),
    "schedule.kind": _choice("steps", ("steps", "cosine"), "shape of the learning rate over time"),
    "schedule.warmup_epochs": _whole(0, "epochs of warm-up before a cosine", 0, 1_000_000),
    "schedule.milestones": Field(
        tuple,
        (42, 62),
        "epochs after which the learning rate drops",
        "increasing whole numbers of epochs, such as (42, 62), (2,) for one or () for none",
        _increasing,
    ),
    "schedule.factor": _number(0.1, "factor of the learning rate at each milestone"),
    "eval.batch_size": _whole(500, "images a step of evaluation"),
    "eval.every_epochs": _whole(1, "epochs between evaluations; the last is always evaluated"),
    "checkpoint.every_epochs": _whole(1, "epochs between checkpoints"),
    "checkpoint.keep": _whole(2, "number of checkpoints to keep, the newest ones"),
    "mesh.data": _whole(None, "devices that share a batch; unset: the most that divide it"),
    "mesh.seed": _whole(None, "seeds to train at once; unset: one a group of devices"),
}

ALSO_CALLED = {
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
"""The names of fields in other programs, which suggestions look up before similar spellings."""

INERT_FIELDS = (
    "mesh.data",
    "mesh.seed",
    "init.weights",  # a path; init.digest identifies the weights
    "train.time_limit",
    "dataset.data_dir",
    "eval.batch_size",
    "checkpoint.every_epochs",
    "checkpoint.keep",
)
"""The fields that do not change the result of a run, and may change when it is resumed."""

brief = reprlib.Repr()  # shortens values in messages
brief.maxstring = brief.maxother = 80
brief.maxtuple = 20


def seconds(text: str) -> float:
    """The seconds of a duration such as "540", "540s", "9m" or "1.5h"; nan for any other text.

    Examples:
      >>> seconds("9m")
      540.0
    """
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([smh]?)", text)
    return float(match[1]) * {"": 1, "s": 1, "m": 60, "h": 3600}[match[2]] if match else math.nan


def describe_fields() -> str:
    """All fields as lines of text, for ``--help``."""
    lines = []
    for path, field in FIELDS.items():
        default = "unset" if field.default is None else field.default
        lines.append(f"  {path} ({field.type.__name__}, {default})")
        lines.append(f"    {field.doc}; allowed: {_allowed(field)}")
    return "\n".join(lines)


def parse_text(path: str, text: str) -> Any:
    """The value of a field from the text of a command line; "None" unsets one that can be unset.

    Raises:
      InputError: the field is unknown, or the value is not allowed.
    """
    field = _field(path)
    if text == "None" and field.default is None:
        return None
    try:
        value = _PARSERS.get(field.type, field.type)(text)
        check(path, value)
        return value
    except InputError:
        raise
    except (ValueError, KeyError, SyntaxError, TypeError, MemoryError, RecursionError):
        raise _not_allowed(path, text) from None


def _tuple_value(text):
    words = re.fullmatch(r"[a-z]\w*(,[a-z]\w*)*", text)
    return tuple(text.split(",")) if words else ast.literal_eval(text)


_FLAGS = {"true": True, "t": True, "1": True, "false": False, "f": False, "0": False}
_PARSERS = {tuple: _tuple_value, bool: lambda text: _FLAGS[text.lower()]}  # else the type itself


def _field(path):
    if path not in FIELDS:
        raise InputError(_unknown(path))
    return FIELDS[path]


def _unknown(path):
    meant = _meant(path)
    hint = f"did you mean {' or '.join(map(repr, meant))}? " if meant else ""
    return f"config field {path!r} is unknown; {hint}allowed: the fields that train --help lists"


def _meant(path):
    """The fields that may be meant: by name without a group, another name, or letters."""
    name = _last(path).lower()
    meant = [field for field in FIELDS if name == _last(field)]
    meant += [field for field, others in ALSO_CALLED.items() if name in others]
    near = difflib.get_close_matches(name, map(_last, FIELDS), n=1)
    return (
        meant
        or difflib.get_close_matches(path, FIELDS, n=1)
        or [field for field in FIELDS if _last(field) in near]
    )


def _last(path):
    return path.rpartition(".")[2]


class Group(ml_collections.ConfigDict):
    """A config or a group of its fields, which answers an unknown name with the field meant."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_") or name in self:
            return super().__getattr__(name)
        raise AttributeError(_unknown(name))

    def __setattr__(self, name: str, value: Any) -> None:
        if self.is_locked and name not in self:
            raise AttributeError(_unknown(name))
        super().__setattr__(name, value)

    def __setitem__(self, name: str, value: Any) -> None:
        super().__setitem__(name, plain(value))  # ConfigDict refuses NumPy's numbers


def check(path: str, value: Any) -> None:
    """Checks a field's name, and the type and range of its value.

    Raises:
      InputError: they are wrong; names the field, the value and the values allowed.
    """
    field = _field(path)
    if value is None and field.default is None:
        return
    numeric = field.type in (int, float)
    types = (int, float) if field.type is float else field.type
    right_type = isinstance(value, types) and not (numeric and isinstance(value, bool))
    if not right_type or not field.check(value):
        raise _not_allowed(path, value)


def _not_allowed(path, value):
    return InputError(f"{path} is {brief.repr(value)}; allowed: {_allowed(FIELDS[path])}")


def _allowed(field):
    return field.allowed if field.default is not None else f"{field.allowed}; None unsets it"
