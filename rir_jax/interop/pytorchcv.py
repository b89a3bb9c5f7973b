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
    tracked = np.array(num_batches_tracked, np.int64)
    return {
        name: tracked if value is None else np.ascontiguousarray(value)
        for name, value in _written(variables, model).items()
    }


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

    shapes = flax.traverse_util.flatten_dict(variable_shapes(model, channels))
    variables = flax.traverse_util.unflatten_dict({k: empty(v) for k, v in shapes.items()})
    written = _written(variables, model)
    return {name: value.shape for name, value in written.items() if value is not None}


def _units(model):
    """Of every layer: pytorchcv's name of its unit, and ours of the block, and its number."""
    for stage, blocks in enumerate(model.blocks, 1):
        for unit in range(blocks * model.layers_per_block):
            block, layer = divmod(unit, model.layers_per_block)
            theirs = f"features.stage{stage}.unit{unit + 1}"
            yield theirs, f"stage{stage}_block{block + 1}", layer + 1


def _read(entries, model):
    ours = {}

    def kernel(name):
        return entries[f"{name}.weight"].transpose(2, 3, 1, 0)

    def put_norm(path, *names):
        for theirs, (collection, leaf) in _NORM.items():
            parts = [entries[f"{name}.bn.{theirs}"] for name in names]
            ours[collection, *path, leaf] = np.concatenate(parts)

    stem = [f"features.init_block.{stream}_conv" for stream in ("res", "trans")]
    kernels = [kernel(f"{name}.conv") for name in stem]
    ours["params", "stem_conv", "kernel"] = np.concatenate(kernels, axis=-1)
    put_norm(["stem_norm"], *stem)
    for unit, block, layer in _units(model):
        filters = [[kernel(f"{unit}.{name}") for name in row] for row in _FILTERS]
        ours["params", block, f"conv{layer}", "kernel"] = np.block(filters)
        if f"{unit}.identity_conv.weight" in entries:
            projection = kernel(f"{unit}.identity_conv")[0, 0]
            ours["params", block, f"conv{layer}", "projection"] = projection
        put_norm([block, f"norm{layer}"], f"{unit}.res_postactiv", f"{unit}.trans_postactiv")
    ours["params", "head_conv", "kernel"] = kernel("output.final_conv.conv")
    put_norm(["head_norm"], "output.final_conv")
    return flax.traverse_util.unflatten_dict(ours)


def _written(variables, model):
    """A state dict of views into variables; its counters are None."""
    theirs = {}
    params = variables["params"]

    def put_kernel(name, value):
        theirs[f"{name}.weight"] = np.asarray(value).transpose(3, 2, 0, 1)

    def put_norm(path, *names):
        for leaf, (collection, ours) in _NORM.items():
            value = variables[collection]
            for key in path:
                value = value[key]
            parts = np.split(np.asarray(value[ours]), len(names))
            for name, part in zip(names, parts, strict=True):
                theirs[f"{name}.bn.{leaf}"] = part
        for name in names:
            theirs[f"{name}.bn.{_TRACKED}"] = None

    stem = [f"features.init_block.{stream}_conv" for stream in ("res", "trans")]
    halves = np.split(np.asarray(params["stem_conv"]["kernel"]), 2, axis=-1)
    for name, half in zip(stem, halves, strict=True):
        put_kernel(f"{name}.conv", half)
    put_norm(["stem_norm"], *stem)
    for unit, block, layer in _units(model):
        conv = params[block][f"conv{layer}"]
        rows = np.split(np.asarray(conv["kernel"]), 2, axis=-2)
        for names, row in zip(_FILTERS, rows, strict=True):
            for name, part in zip(names, np.split(row, 2, axis=-1), strict=True):
                put_kernel(f"{unit}.{name}", part)
        put_norm([block, f"norm{layer}"], f"{unit}.res_postactiv", f"{unit}.trans_postactiv")
        if "projection" in conv:
            put_kernel(f"{unit}.identity_conv", np.asarray(conv["projection"])[None, None])
    put_kernel("output.final_conv.conv", params["head_conv"]["kernel"])
    put_norm(["head_norm"], "output.final_conv")
    return theirs
