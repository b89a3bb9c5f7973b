"""Weights of pytorchcv's ``rir_cifar10``, ``rir_cifar100`` and ``rir_svhn``, exactly.

pytorchcv keeps the streams apart: four convolutions a layer, ``res_pass_conv`` (W_rr),
``res_cross_conv`` (W_rt), ``trans_cross_conv`` (W_tr) and ``trans_pass_conv`` (W_tt), and two
batch norms. Here they are the blocks of one kernel, and one batch norm. Values are only moved, so
both directions are exact, in any floating type. PyTorch is not needed:

    state_dict = {name: tensor.numpy() for name, tensor in net.state_dict().items()}
    model = rir_jax.create_model("rir18_wide", num_classes=10, **rir_jax.interop.PYTORCHCV)
    logits = model.apply(rir_jax.interop.from_pytorchcv(state_dict), images)

PyTorch's running variance is an unbiased estimate: n / (n - 1) times the batch variance that both
libraries normalize with. The conversion keeps its values; in further training here, the running
variances drift by that factor.
"""

from collections.abc import Mapping
from typing import Any

import flax.traverse_util
import jax
import jax.numpy as jnp
import numpy as np

from rir_jax.errors import InputError
from rir_jax.interop.overrides import PYTORCHCV
from rir_jax.models.network import Network
from rir_jax.models.variables import check_variables, differences, variable_shapes
from rir_jax.models.zoo import create_model

_FILTERS = (("res_pass_conv", "res_cross_conv"), ("trans_cross_conv", "trans_pass_conv"))
_NORM = {
    "weight": ("params", "scale"),
    "bias": ("params", "bias"),
    "running_mean": ("batch_stats", "mean"),
    "running_var": ("batch_stats", "var"),
}
_TRACKED = "num_batches_tracked"
_AXES_BEFORE = {"kernel": 0, "projection": 2}
"""Axes of size 1 that are before inputs and outputs in a state dict alone; 1 of other entries."""


def from_pytorchcv(
    state_dict: Mapping[str, np.ndarray], model: Network | None = None
) -> dict[str, Any]:
    """The variables of our network, from a state dict of pytorchcv's.

    Args:
      state_dict: arrays or tensors of any floating type, by name. The counters
        ``num_batches_tracked`` are ignored and may be missing.
      model: our network; None: ``rir18_wide`` with the overrides `PYTORCHCV` and as many classes
        as the state dict has.

    Returns:
      ``{"params": ..., "batch_stats": ...}``, arrays of the types in the state dict.

    Raises:
      InputError: an entry is missing, not expected, of another shape (names the first), or not
        floating; or pytorchcv has no such model.

    Examples:
      >>> import jax
      >>> model = create_model("rir18_wide", widths=(4,), blocks=(1,), stem_width=4, **PYTORCHCV)
      >>> variables = jax.jit(model.init)(jax.random.key(0), np.zeros((1, 8, 8, 3), "float32"))
      >>> state_dict = to_pytorchcv(variables, model)
      >>> state_dict["features.stage1.unit1.res_pass_conv.weight"].shape
      (2, 2, 3, 3)
      >>> kernel = from_pytorchcv(state_dict, model)["params"]["stage1_block1"]["conv1"]["kernel"]
      >>> (kernel == variables["params"]["stage1_block1"]["conv1"]["kernel"]).all().item()
      True
    """
    entries = {n: _array(v) for n, v in state_dict.items() if n.split(".")[-1] != _TRACKED}
    head, stem = "output.final_conv.conv.weight", "features.init_block.res_conv.conv.weight"
    model = _checked(model, _size(entries, head, axis=0, default=10))
    shapes = _expected_shapes(model, channels=_size(entries, stem, axis=1, default=3))
    problem = differences({name: value.shape for name, value in entries.items()}, shapes)
    if problem:
        raise InputError(f"state_dict is not pytorchcv's: {problem}")
    for name, value in entries.items():
        if not jnp.issubdtype(value.dtype, jnp.floating):
            raise InputError(f"state_dict: {name!r} is {value.dtype}; allowed: a floating type")
    return _read(entries, model)


def to_pytorchcv(
    variables: Mapping[str, Any], model: Network | None = None, num_batches_tracked: int = 0
) -> dict[str, np.ndarray]:
    """The state dict of pytorchcv's network, from variables of ours: `from_pytorchcv` inverted.

    ``net.load_state_dict({name: torch.tensor(value) for name, value in ....items()})`` loads it.

    Args:
      variables: "params" and "batch_stats" of our network.
      model: our network; None: as in `from_pytorchcv`.
      num_batches_tracked: value of PyTorch's counters.

    Returns:
      Arrays by name.

    Raises:
      InputError: the variables belong to another model, or pytorchcv has no such model.
    """
    try:
        classes = np.shape(variables["params"]["head_conv"]["kernel"])[-1]
    except (KeyError, IndexError, TypeError):
        classes = 10
    model = _checked(model, classes)
    try:
        check_variables(model, variables)
    except ValueError as error:
        raise InputError(str(error)) from None
    state_dict = {n: np.ascontiguousarray(v) for n, v in _written(variables, model).items()}
    norms = [name.rpartition(".")[0] for name in state_dict if name.endswith(".running_var")]
    tracked = np.array(num_batches_tracked, np.int64)
    return state_dict | dict.fromkeys([f"{norm}.{_TRACKED}" for norm in norms], tracked)


def _array(value):
    """A tensor or array as an array, also a PyTorch parameter or one in bfloat16."""
    if hasattr(value, "detach"):
        value = value.detach().cpu()
    if str(getattr(value, "dtype", "")) == "torch.bfloat16":
        return value.float().numpy().astype(jnp.bfloat16)
    return np.asarray(value)


def _checked(model, num_classes):
    """The given model, checked to be of pytorchcv's kind, or the default one."""
    if model is None:
        return create_model("rir18_wide", num_classes, **PYTORCHCV)
    for field, allowed in {"two_streams": True, **PYTORCHCV}.items():
        if getattr(model, field) != allowed:
            raise InputError(
                f"model.{field} is {getattr(model, field)!r}; allowed for pytorchcv: {allowed!r}"
            )
    return model


def _size(entries, name, axis, default):
    return entries[name].shape[axis] if name in entries and entries[name].ndim == 4 else default


def _expected_shapes(model, channels):
    """The shapes in a state dict by name, without its counters."""
    shapes = variable_shapes(model, channels)
    empty = jax.tree.map(lambda leaf: np.broadcast_to(np.float32(0), leaf.shape), shapes)
    return {name: value.shape for name, value in _written(empty, model).items()}


def _units(model):
    """For every layer: pytorchcv's name of its unit, our name of its block, its number in that."""
    for stage, blocks in enumerate(model.blocks, 1):
        for unit in range(blocks * model.layers_per_block):
            block, layer = divmod(unit, model.layers_per_block)
            theirs = f"features.stage{stage}.unit{unit + 1}"
            yield theirs, f"stage{stage}_block{block + 1}", layer + 1


def _correspondence(model):
    """For each of our entries: its path, and the names of pytorchcv's entries, its blocks, in rows.

    Layers whose shape does not change have no projection.
    """
    stem = [f"features.init_block.{stream}_conv" for stream in ("res", "trans")]
    yield ("params", "stem_conv", "kernel"), [[f"{name}.conv.weight" for name in stem]]
    yield from _of_norm(["stem_norm"], stem)
    for unit, block, layer in _units(model):
        conv = ("params", block, f"conv{layer}")
        yield (*conv, "kernel"), [[f"{unit}.{name}.weight" for name in row] for row in _FILTERS]
        yield (*conv, "projection"), [[f"{unit}.identity_conv.weight"]]
        streams = [f"{unit}.{stream}_postactiv" for stream in ("res", "trans")]
        yield from _of_norm([block, f"norm{layer}"], streams)
    yield ("params", "head_conv", "kernel"), [["output.final_conv.conv.weight"]]
    yield from _of_norm(["head_norm"], ["output.final_conv"])


def _of_norm(path, names):
    for theirs, (collection, ours) in _NORM.items():
        yield (collection, *path, ours), [[f"{name}.bn.{theirs}" for name in names]]


def _read(entries, model):
    """Our variables, put together from pytorchcv's blocks."""
    ours = {}
    for path, names in _correspondence(model):
        if names[0][0] in entries:
            whole = np.block([[_in_our_order(entries[name]) for name in row] for row in names])
            ours[path] = whole[(0,) * _AXES_BEFORE.get(path[-1], 1)]
    return flax.traverse_util.unflatten_dict(ours)


def _written(variables, model):
    """A state dict of views into the variables, without the counters."""
    ours, theirs = flax.traverse_util.flatten_dict(variables), {}
    for path, names in _correspondence(model):
        if path in ours:
            whole = np.asarray(ours[path])[(None,) * _AXES_BEFORE.get(path[-1], 1)]
            rows = np.split(whole, len(names), axis=-2)
            for row_names, row in zip(names, rows, strict=True):
                blocks = np.split(row, len(row_names), axis=-1)
                for name, block in zip(row_names, blocks, strict=True):
                    theirs[name] = block.transpose(3, 2, 0, 1) if block.ndim == 4 else block[0]
    return theirs


def _in_our_order(value):
    return value.transpose(2, 3, 1, 0) if value.ndim == 4 else value
