"""A network as plain files: its weights as safetensors, everything else as JSON.

    model.safetensors   "params/stem_conv/kernel", ..., "batch_stats/stem_norm/mean", ...
    config.json         the network's fields, its class names and its preprocessing
    README.md           the same for people and for model hubs

Many libraries read them. Reading them runs no code, because none of them is a pickle.
"""

import tempfile
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import safetensors
import safetensors.numpy
from etils import epath
from flax.traverse_util import flatten_dict, unflatten_dict

from rir_jax import files
from rir_jax.errors import InputError
from rir_jax.models.network import Network
from rir_jax.models.variables import check_variables
from rir_jax.models.zoo import FIELDS
from rir_jax.trained import pretrained
from rir_jax.trained.card import model_card
from rir_jax.trained.info import Info

WEIGHTS, CONFIG, CARD = "model.safetensors", "config.json", "README.md"
_FORMAT = "rir_jax 1"
_WRITTEN = [field for field in ("num_classes", *FIELDS) if not field.endswith("dtype")]


def save_pretrained(
    folder: epath.PathLike, model: Network, variables: dict[str, Any], info: Info
) -> None:
    """Writes a network's weights, its description and its model card into a folder.

    Args:
      folder: folder on a disk or in a bucket (``gs://``); made if it does not exist. Files of an
        earlier call are replaced.
      model: the network, as `rir_jax.load` returns it, or made by hand.
      variables: variables of the network.
      info: class names and preprocessing of the network.

    Raises:
      ValueError: the variables belong to another network.
      InputError: the folder cannot be written to, or there is not one class name for each logit.

    Examples:
      >>> import rir_jax, tempfile
      >>> model = rir_jax.create_model("rir32", widths=(4,), blocks=(1,), stem_width=4)
      >>> variables = jax.jit(model.init)(jax.random.key(0), jnp.zeros((1, 8, 8, 1)))
      >>> info = rir_jax.Info(list("0123456789"), (8, 8, 1), mean=[80.0], std=[60.0])
      >>> with tempfile.TemporaryDirectory() as folder:
      ...     save_pretrained(folder, model, variables, info)
      ...     model, variables, info = from_pretrained(folder)
      >>> info.class_names[:3]
      ('0', '1', '2')
    """
    check_variables(model, variables)
    if len(info.class_names) != model.num_classes:
        raise InputError(
            f"class_names are {len(info.class_names)}; allowed: {model.num_classes}, one for each "
            "logit"
        )
    kept = {name: variables[name] for name in ("params", "batch_stats")}
    arrays = flatten_dict(jax.device_get(kept), sep="/")
    arrays = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
    content = safetensors.numpy.save(arrays)
    described = {
        "format": _FORMAT,
        "model": {field: getattr(model, field) for field in _WRITTEN},
        "class_names": info.class_names,
        "image_shape": info.image_shape,
        "mean": info.mean.tolist(),
        "std": info.std.tolist(),
        "dataset": info.dataset,
        "step": info.step,
        "card": info.card,
        "sha256": files.digest(content),
    }
    folder = files.path(folder)
    with files.refused_writes(folder):
        files.write(folder / WEIGHTS, content)
        files.write_json(folder / CONFIG, described)
        files.write(folder / CARD, model_card(described).encode())


def from_pretrained(
    name: epath.PathLike, dtype: Any = jnp.float32
) -> tuple[Network, dict[str, Any], Info]:
    """Reads a published network by its name, or a folder that `save_pretrained` wrote.

    Args:
      name: one of `rir_jax.list_pretrained`, or the path of a folder.
      dtype: type of the computation; parameters keep the type that they were saved in.

    Returns:
      The model, its variables and an `Info`, as `rir_jax.load`.

    Raises:
      InputError: the name is unknown, a file is missing or damaged, or the weights do not fit the
        network (names the first that does not).
    """
    folder = pretrained.find(name)
    described = _read_description(folder / CONFIG)
    arrays, digest = _read_arrays(folder / WEIGHTS)
    try:
        model = Network(**described["model"], dtype=dtype, param_dtype=_param_dtype(arrays))
        names = ("class_names", "image_shape", "mean", "std", "dataset", "step")
        info = Info(**{name: described[name] for name in names}, card=described.get("card"))
        if len(info.class_names) != model.num_classes:
            raise ValueError(f"{len(info.class_names)} class names of {model.num_classes} classes")
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        reason = f"{error} is missing" if isinstance(error, KeyError) else str(error)
        raise InputError(f"{folder / CONFIG}: {reason}") from None
    try:
        variables = unflatten_dict(arrays, sep="/")
        check_variables(model, variables)
    except (ValueError, TypeError, IndexError) as error:  # names may not form a tree
        raise InputError(f"{folder / WEIGHTS}: {error}") from None
    if described.get("sha256", digest) != digest:
        raise InputError(
            f"{folder / WEIGHTS} does not match the digest in {CONFIG}: it is damaged, or was "
            'changed (then remove "sha256" there)'
        )
    return model, jax.tree.map(jnp.asarray, variables), info


def _param_dtype(arrays):
    types = {array.dtype for name, array in arrays.items() if name.startswith("params/")}
    return types.pop() if len(types) == 1 else jnp.float32


def _read_description(path):
    try:
        described = files.read_json(path)
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error}") from None
    except ValueError as error:
        raise InputError(f"{path} is not a JSON file: {error}") from None
    if described.get("format") != _FORMAT:
        raise InputError(f"{path} is not a description of a network; allowed: format {_FORMAT!r}")
    return described


def _read_arrays(path):
    try:
        content = files.read(path)
        # safetensors reads bfloat16 from files alone, and no files in a bucket.
        with tempfile.NamedTemporaryFile() as copy:
            copy.write(content)
            copy.flush()
            return safetensors.numpy.load_file(copy.name), files.digest(content)
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error}") from None
    except (safetensors.SafetensorError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path} is not a safetensors file: {error}") from None
