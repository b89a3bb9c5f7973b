"""Trained weights for a new network: some parts are taken over, others start anew.

A head starts anew if the classes differ, and a stem if the channels differ. All other parts must
fit: weights of another family or width are refused, because they would make another network.
"""

import dataclasses
from functools import cached_property
from typing import Any

import jax
import numpy as np
from etils import epath
from flax.traverse_util import flatten_dict

from rir_jax import files
from rir_jax.data.dataset import Dataset
from rir_jax.errors import InputError
from rir_jax.models.network import Network, part_of
from rir_jax.models.variables import variable_shapes
from rir_jax.models.zoo import FIELDS
from rir_jax.trained.info import Info
from rir_jax.trained.load import load_finished
from rir_jax.trained.weights import WEIGHTS, from_pretrained

# The fields of a network on which the weights of its parts depend; the free ones may differ.
_HEAD = ("head", "head_relu")
_FREE = ("kernel_init", "norm_momentum", "dtype", "param_dtype")
_BODY = tuple(field for field in FIELDS if field not in _HEAD + _FREE)


@dataclasses.dataclass(frozen=True)
class Source:
    """A trained network to start from.

    Attributes:
      name: value of the config field ``init.weights``.
      model: the network.
      variables: the network's variables on the host, by name: "params/stem_conv/kernel", ...,
        "batch_stats/stem_norm/mean", ...
      info: class names and preprocessing of the network.
    """

    name: str
    model: Network
    variables: dict[str, np.ndarray]
    info: Info

    @cached_property
    def digest(self) -> str:
        """16 hexadecimal digits that change with any weight, statistic or class name."""
        arrays = {name: files.digest_of_array(array) for name, array in self.variables.items()}
        return files.digest_of_json([arrays, self.info.class_names])[:16]


def read_source(name: epath.PathLike) -> Source:
    """Reads the weights of a published network, a folder of weights, or a finished run.

    Args:
      name: one of `rir_jax.list_pretrained`, a folder that `rir_jax.save_pretrained` wrote, or a
        workdir.

    Raises:
      InputError: it is none of these, the run is not finished, or a file is damaged.
      RunError: all checkpoints of the run are damaged.
    """
    try:
        folder = files.path(name)
        with files.store_errors(folder):
            is_run = (folder / "config.json").exists() and not (folder / WEIGHTS).exists()
        model, variables, info = load_finished(folder) if is_run else from_pretrained(name)
    except (InputError, OSError, ValueError) as error:  # a name too long, no access, ...
        raise InputError(f"init.weights is {str(name)!r}: {error}") from None
    arrays = flatten_dict(jax.device_get(variables), sep="/")
    return Source(str(name), model, {n: np.asarray(a) for n, a in arrays.items()}, info)


def take_over(
    source: Source, model: Network, dataset: Dataset, frozen: tuple[str, ...] = ()
) -> tuple[dict[str, np.ndarray], str]:
    """The trained weights that a new network takes over.

    Args:
      source: the trained network.
      model: the new network.
      dataset: data set that the new network is trained on.
      frozen: parts of the network that are not trained.

    Returns:
      The entries of ``source.variables`` that are taken over, and a line that names them and the
      parts that start anew.

    Raises:
      InputError: an entry does not fit (names the first, and the fields that would fit), or a part
        that starts anew is frozen.
    """
    anew = _parts_anew(source, model, dataset)
    shapes = flatten_dict(variable_shapes(model, dataset.image_shape[-1]), sep="/")
    wanted = {name: leaf.shape for name, leaf in shapes.items() if _part(name) not in anew}
    given = {name: a for name, a in source.variables.items() if _part(name) not in anew}
    _check_body(source, model, wanted, given)
    for part in frozen:
        if part in anew:
            raise InputError(
                f"init.freeze names {part!r}, which starts anew ({anew[part]}); allowed: parts "
                "that are taken over"
            )
    whys = ", ".join(f"{part} ({why})" for part, why in anew.items()) or "nothing"
    line = (
        f"starts from {source.name} ({source.info.dataset or 'no data set named'}, step "
        f"{source.info.step:,}): {len(wanted)} of {len(shapes)} entries taken over; anew: {whys}; "
        f"frozen: {', '.join(frozen) or 'nothing'}"
    )
    return given, line


def _part(name):
    """The part of an entry: "stage1" for "params/stage1_block1/conv1/kernel"."""
    return part_of(name.split("/")[1])


def _parts_anew(source, model, dataset):
    """The parts that start anew, each with the reason."""
    anew = {}
    channels, before = dataset.image_shape[-1], source.info.image_shape[-1]
    if channels != before:
        anew["stem"] = f"{channels} channels, not {before}"
    if _differing(source.model, model, _HEAD):
        anew["head"] = "of another kind"
    elif len(dataset.class_names) != len(source.info.class_names):
        anew["head"] = f"{len(dataset.class_names)} classes, not {len(source.info.class_names)}"
    elif dataset.class_names != tuple(source.info.class_names):
        anew["head"] = "other classes"
    return anew


def _differing(one: Any, other: Any, fields) -> dict[str, Any]:
    """The fields of one network whose values differ from another's, with their values."""
    return {f: getattr(one, f) for f in fields if getattr(one, f) != getattr(other, f)}


def _check_body(source, model, wanted, given):
    differing = _differing(source.model, model, _BODY)
    problem = _first_misfit(wanted, given)
    if differing and not problem:
        names = " and ".join(differing)
        problem = f"their shapes fit, but they were trained with another {names}"
    if problem:
        allowed = ", ".join(f"model.{field}={value!r}" for field, value in differing.items())
        raise InputError(
            f"init.weights is {source.name!r}: {problem}; allowed with these weights: "
            f"{allowed or 'the network that they belong to'}"
        )


def _first_misfit(wanted, given):
    """The first entry that does not fit, in words; "" if all fit."""
    for name, shape in sorted(wanted.items(), key=_in_order):
        if name not in given:
            return f"{name!r} is missing"
        if given[name].shape != shape:
            return f"{name!r} has shape {given[name].shape}, and the config's network {shape}"
    extra = sorted(((name, a) for name, a in given.items() if name not in wanted), key=_in_order)
    return f"{extra[0][0]!r} has no place in the config's network" if extra else ""


def _in_order(entry):
    """A key for sorting: weights before statistics; then the stem, the stages, the head."""
    name, part = entry[0], _part(entry[0])
    return not name.startswith("params"), part == "head", part != "stem", name
