"""Weights of pytorchcv's ``rir_cifar10``, ``rir_cifar100`` and ``rir_svhn``, exactly.

pytorchcv keeps the streams apart: four convolutions a layer, ``res_pass_conv`` (W_rr),
``res_cross_conv`` (W_rt), ``trans_cross_conv`` (W_tr) and ``trans_pass_conv`` (W_tt), and two
batch norms. Here they are the blocks of one kernel, and one batch norm. Values are only moved,
so both directions are exact, in any floating type. Needs no PyTorch:

    state_dict = {name: tensor.numpy() for name, tensor in net.state_dict().items()}
    model = rir_jax.create_model("rir18_wide", num_classes=10, **rir_jax.interop.PYTORCHCV)
    logits = model.apply(rir_jax.interop.from_pytorchcv(state_dict), images)

PyTorch's running variance is that of an unbiased estimate, n / (n - 1) times the batch variance
that it, like this package, normalizes with. The weights are the same; one that trains on will
see its running variances drift by that factor.
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
"""Axes of size 1 that an entry has in a state dict before its inputs and outputs; else 1."""


def from_pytorchcv(
    state_dict: Mapping[str, np.ndarray], model: Network | None = None
) -> dict[str, Any]:
    """Variables of our network, from a state dict of pytorchcv's.

    Args:
      state_dict: names to arrays or tensors, of any floating type. The counters
        ``num_batches_tracked`` have no counterpart here; they are not looked at and may be absent.
      model: the network that it is for; by default ``rir18_wide`` with the overrides
        `PYTORCHCV` and as many classes as the state dict has.

    Returns:
      ``{"params": ..., "batch_stats": ...}`` of arrays of the types of the state dict.

    Raises:
      InputError: the first entry that is missing, not expected, or of another shape, by name;
        one that is not floating; a model that pytorchcv does not have.

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
    entries = {name: _array(value) for name, value in state_dict.items() if not _is_counter(name)}
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
    """A state dict for pytorchcv's network, from variables of ours. Inverts `from_pytorchcv`.

    ``net.load_state_dict({name: torch.tensor(value) for name, value in ....items()})``.

    Args:
      variables: "params" and "batch_stats".
      model: whose variables they are; the default is that of `from_pytorchcv`.
      num_batches_tracked: what PyTorch's counters are set to.

    Returns:
      Names to arrays.

    Raises:
      InputError: variables that are not the model's, or a model that pytorchcv does not have.
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
    """The array of a tensor or array; NumPy does not know PyTorch's bfloat16, nor parameters."""
    if hasattr(value, "detach"):
        value = value.detach().cpu()
    if str(getattr(value, "dtype", "")) == "torch.bfloat16":
        return value.float().numpy().astype(jnp.bfloat16)
    return np.asarray(value)


def _checked(model, num_classes):
    """The default model, or the given one if it is of pytorchcv's kind."""
    if model is None:
        return create_model("rir18_wide", num_classes, **PYTORCHCV)
    for field, allowed in {"two_streams": True, **PYTORCHCV}.items():
        if getattr(model, field) != allowed:
            raise InputError(
                f"model.{field} is {getattr(model, field)!r}; allowed for pytorchcv: {allowed!r}"
            )
    return model


def _is_counter(name):
    return name.split(".")[-1] == _TRACKED


def _size(entries, name, axis, default):
    return entries[name].shape[axis] if name in entries and entries[name].ndim == 4 else default


def _expected_shapes(model, channels):
    """Names and shapes of a state dict, without its counters."""

    def empty(leaf):  # no memory
        return np.broadcast_to(np.float32(0), leaf.shape)

    written = _written(jax.tree.map(empty, variable_shapes(model, channels)), model)
    return {name: value.shape for name, value in written.items()}


def _units(model):
    """Of every layer: pytorchcv's name of its unit, and ours of the block, and its number."""
    for stage, blocks in enumerate(model.blocks, 1):
        for unit in range(blocks * model.layers_per_block):
            block, layer = divmod(unit, model.layers_per_block)
            theirs = f"features.stage{stage}.unit{unit + 1}"
            yield theirs, f"stage{stage}_block{block + 1}", layer + 1


def _correspondence(model):
    """Of each of our entries: its path, and the names of pytorchcv's that are its blocks, in rows.

    Some layers have no projection: those whose shape does not change.
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
    """Our variables: pytorchcv's blocks put together."""
    ours = {}
    for path, names in _correspondence(model):
        if names[0][0] in entries:
            whole = np.block([[_in_our_order(entries[name]) for name in row] for row in names])
            ours[path] = whole[(0,) * _AXES_BEFORE.get(path[-1], 1)]
    return flax.traverse_util.unflatten_dict(ours)


def _written(variables, model):
    """A state dict of views into variables, without its counters."""
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
