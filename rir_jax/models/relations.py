"""How the families contain one another (paper, Fig. 1 and 2): weights for each relation.

A generalized layer has filters from each stream to each, ``W = [[W_rr, W_rt], [W_tr, W_tt]]``.
With some of them zero it is a layer of another family, of the width of one stream:

- `cnn_layer`: only W_tt. The transient stream is a layer of a CNN; the residual stream stays zero.
- `resnet_layer`: only W_rr. The residual stream is a one-layer ResNet block,
  ``sigma(conv(r) + r)``; the transient stream is not used.
- `resnet_block` (Fig. 1c): W_rt first, W_tt between, W_tr last. The transient stream computes
  the hidden layers of a ResNet block, while the residual stream carries its input past them.
- `residual_branch`: the same without the layers' own shortcut, which is subtracted. RiR's outer
  shortcut then is the shortcut of the ResNet block.

`cnn_as_resnet_init`, `resnet_as_rir` and `resnet_as_resnet_init` do this for whole networks.
"""

from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
from flax.traverse_util import flatten_dict, unflatten_dict

from rir_jax.models import streams
from rir_jax.models.fold import affine, folded_conv
from rir_jax.models.network import Network
from rir_jax.models.variables import check_variables, variable_shapes


def cnn_layer(kernel: jax.Array) -> jax.Array:
    """W of a generalized layer whose transient stream is the layer with this kernel.

    ``[*spatial, in, out]`` to ``[*spatial, 2 in, 2 out]``, for `GeneralizedConv` or
    `GeneralizedDense`. The layer computes ``t' = sigma(conv(t, kernel))``: the paper's block with
    its residual stream zeroed. Batch norm and ReLU act on each channel alone, so ``r`` never
    reaches ``t'``, in training or in inference.

    Examples:
      >>> cnn_layer(jnp.full((1, 1), 7.0)).tolist()
      [[0.0, 0.0], [0.0, 7.0]]
    """
    return _between("t", "t", kernel)


def resnet_layer(kernel: jax.Array) -> jax.Array:
    """W of a generalized layer whose residual stream is a one-layer ResNet block.

    ``[*spatial, in, out]`` to ``[*spatial, 2 in, 2 out]``. The layer computes
    ``r' = sigma(conv(r, kernel) + r)``, in training and in inference: the paper's block with its
    transient stream zeroed. The shortcut joins before batch norm ("pre_norm"); for He et al.'s
    place, after it, see `resnet_as_resnet_init`.

    Examples:
      >>> resnet_layer(jnp.full((1, 1), 7.0)).tolist()
      [[7.0, 0.0], [0.0, 0.0]]
    """
    return _between("r", "r", kernel)


def resnet_block(*kernels: jax.Array) -> list[jax.Array]:
    """W of each of the generalized layers that express a ResNet block (paper, Fig. 1c).

    The arguments are the kernels ``[*spatial, in, out]`` of the block's layers, any number of them.
    Two make the standard block ``relu(norm2(conv(relu(norm1(conv(x, K1))), K2)) + x)``, with x in
    the residual stream: ``t1 = sigma(conv(r, K1))``, then ``r2 = sigma(conv(t1, K2) + r1)``. The
    two are equal if, on the residual stream,

    - the ReLU of every layer but the last is the identity, which it is if ``x >= 0``, as after a
      ReLU;
    - the batch norm of every layer but the last is the identity;
    - the last batch norm is the identity on the sum: the block's own last batch norm acts on the
      convolution alone, so it must be folded into ``K2`` and a bias.

    In inference a batch norm can be made the identity, and folded, whatever its statistics
    (`resnet_as_resnet_init` does so). In training it normalizes with the batch's statistics, and
    the two differ; with `residual_branch` in a RiR they are equal in training too.

    Examples:
      >>> first, second = resnet_block(jnp.full((1, 1), 7.0), jnp.full((1, 1), 8.0))
      >>> first.tolist(), second.tolist()
      ([[0.0, 7.0], [0.0, 0.0]], [[0.0, 0.0], [8.0, 0.0]])
    """
    last = len(kernels) - 1
    return [
        _between("r" if layer == 0 else "t", "r" if layer == last else "t", kernel)
        for layer, kernel in enumerate(kernels)
    ]


def residual_branch(*kernels: jax.Array) -> list[jax.Array]:
    """W of each of the generalized layers that express a ResNet block without its shortcut.

    These are the kernels of `resnet_block`, with the partial identity subtracted from the first,
    so that the residual stream is zero inside the block. With RiR's outer shortcut around them
    (paper, Fig. 1d) they are a ResNet block, in training and in inference. Where the layer's
    shortcut is a learnt projection, set that to zero and use `resnet_block` instead.

    Examples:
      >>> first, second = residual_branch(jnp.full((1, 1), 7.0), jnp.full((1, 1), 8.0))
      >>> first.tolist(), second.tolist()
      ([[-1.0, 7.0], [0.0, 0.0]], [[0.0, 0.0], [8.0, 0.0]])
    """
    first, *rest = resnet_block(*kernels)
    return [first - streams.partial_identity(first.shape, first.dtype), *rest]


def cnn_as_resnet_init(model: Network, variables: Any) -> tuple[Network, dict[str, Any]]:
    """A ResNet Init of twice the widths that computes this CNN on its transient stream.

    The logits, in training and in inference, and the running statistics of that stream are equal.

    Args:
      model: a CNN (``two_streams=False, outer_shortcut="none"``).
      variables: the "params" and "batch_stats" of the CNN.

    Returns:
      The wider network and its variables.

    Raises:
      ValueError: the model is not a CNN, or the variables belong to another network.

    Examples:
      >>> import rir_jax
      >>> cnn = rir_jax.create_model("cnn32", widths=(4,), blocks=(1,), stem_width=4)
      >>> variables = jax.jit(cnn.init)(jax.random.key(0), jnp.ones((1, 8, 8, 3)))
      >>> model, variables = rir_jax.relations.cnn_as_resnet_init(cnn, variables)
      >>> model.two_streams, model.widths
      (True, (8,))
    """
    _require_family(model, "a CNN", ("none",))
    wider = _Wider(model, variables, stream="t")
    for block, kernels in wider.blocks():
        for layer, kernel in enumerate(kernels, 1):
            wider.put_layer(block, layer, cnn_layer(kernel), stream="t")
    return wider.result()


def resnet_as_rir(model: Network, variables: Any) -> tuple[Network, dict[str, Any]]:
    """A RiR of twice the widths that computes this ResNet (paper, Fig. 2).

    The logits, in training and in inference, and the running statistics of the channels in use are
    equal, for every kind of shortcut: see `residual_branch`.

    Args:
      model: a ResNet (``two_streams=False`` with an outer shortcut).
      variables: the "params" and "batch_stats" of the ResNet.

    Returns:
      The wider network and its variables.

    Raises:
      ValueError: the model is not a ResNet, or the variables belong to another network.

    Examples:
      >>> import rir_jax
      >>> resnet = rir_jax.create_model("resnet32", widths=(4,), blocks=(1,), stem_width=4)
      >>> variables = jax.jit(resnet.init)(jax.random.key(0), jnp.ones((1, 8, 8, 3)))
      >>> rir, variables = rir_jax.relations.resnet_as_rir(resnet, variables)
      >>> rir.outer_shortcut, rir.widths
      ('pre_relu', (8,))
    """
    _require_family(model, "a ResNet", ("pre_relu", "pre_norm", "post_relu"))
    wider = _Wider(model, variables, stream="r")
    for block, kernels in wider.blocks():
        projected = f"params/{block}/conv1/projection" in wider.target  # it stays zero
        filters = resnet_block(*kernels) if projected else residual_branch(*kernels)
        for layer, kernel in enumerate(filters, 1):
            wider.put_layer(block, layer, kernel, stream="r" if layer == len(filters) else "t")
    return wider.result()


def resnet_as_resnet_init(model: Network, variables: Any) -> tuple[Network, dict[str, Any]]:
    """A ResNet Init of twice the widths that computes this ResNet in inference (paper, Fig. 1c).

    Generalized layers express the outer shortcut of every block, see `resnet_block`. On the
    residual stream, batch norms are made the identity (scale ``sqrt(1 + epsilon)``, mean 0,
    variance 1), and the last batch norm of a block is folded into its kernel and bias. In training
    these batch norms normalize, so the two networks differ there.

    Args:
      model: a ResNet (``two_streams=False``) whose outer shortcut ends before a ReLU and adds zero
        channels. (The output of a projection may be negative, which `resnet_block` forbids.)
      variables: the "params" and "batch_stats" of the ResNet.

    Returns:
      The wider network and its variables.

    Raises:
      ValueError: the model is not such a ResNet, or the variables belong to another network.

    Examples:
      >>> import rir_jax
      >>> resnet = rir_jax.create_model("resnet32", widths=(4,), blocks=(1,), stem_width=4)
      >>> variables = jax.jit(resnet.init)(jax.random.key(0), jnp.ones((1, 8, 8, 3)))
      >>> resnet_init, variables = rir_jax.relations.resnet_as_resnet_init(resnet, variables)
      >>> resnet_init.outer_shortcut, resnet_init.widths
      ('none', (8,))
    """
    _require_family(model, "a ResNet", ("pre_relu", "pre_norm"))
    if model.shortcut != "zero_pad":
        raise ValueError(f"shortcut is {model.shortcut!r}; allowed: 'zero_pad'")
    wider = _Wider(model, variables, stream="r", outer_shortcut="none")
    for block, kernels in wider.blocks():
        last = len(kernels)
        params, stats = variables["params"][block], variables["batch_stats"][block]
        norm = affine(params[f"norm{last}"], stats[f"norm{last}"], model.norm_epsilon)
        folded = folded_conv(params[f"conv{last}"], norm)
        if model.outer_shortcut == "pre_relu":
            kernels[-1] = folded["kernel"]
        *hidden, joining = resnet_block(*kernels)
        for layer, kernel in enumerate(hidden, 1):
            wider.put_layer(block, layer, kernel, stream="t")
            wider.put_identity_norm(block, layer)
        if model.outer_shortcut == "pre_norm":  # the block's last norm is on the sum already
            wider.put_layer(block, last, joining, stream="r")
        else:
            wider.target[f"params/{block}/conv{last}/kernel"] = joining
            wider.put_identity_norm(block, last, folded["bias"])
    return wider.result()


def _between(source, target, kernel):
    """W with the filters from one stream to another, and zeros elsewhere."""
    *spatial, width_in, width_out = kernel.shape
    blank = jnp.zeros((*spatial, 2 * width_in, 2 * width_out), kernel.dtype)
    rows, columns = streams.half(source, width_in), streams.half(target, width_out)
    return blank.at[..., rows, columns].set(kernel)


def _require_family(model, family, outer_shortcuts):
    if model.two_streams:
        raise ValueError(f"two_streams is True; allowed: False, {family}")
    if model.outer_shortcut not in outer_shortcuts:
        allowed = ", ".join(map(repr, outer_shortcuts))
        raise ValueError(f"outer_shortcut is {model.outer_shortcut!r}; allowed: {allowed}")


class _Wider:
    """Builds a network of two streams that holds one of a single stream on ``stream``.

    All weights start at zero; stem, head and projections of outer shortcuts are copied, and the
    caller fills the blocks. Entries are named ``"params/stage1_block1/conv1/kernel"``.
    """

    def __init__(self, model: Network, variables: Any, stream: str, **fields: Any):
        check_variables(model, variables)
        kept = {name: variables[name] for name in ("params", "batch_stats")}
        self.source = flatten_dict(kept, sep="/")
        self.model = model.clone(
            two_streams=True,
            stem_width=2 * model.stem_width,
            widths=tuple(2 * width for width in model.widths),
            **fields,
        )
        channels = self.source["params/stem_conv/kernel"].shape[2]
        shapes = flatten_dict(variable_shapes(self.model, channels), sep="/")
        fill = {"scale": 1, "var": 1}
        self.target = {
            name: jnp.full(leaf.shape, fill.get(name.split("/")[-1], 0), leaf.dtype)
            for name, leaf in shapes.items()
        }
        self._put_ends(stream)

    def blocks(self) -> Iterator[tuple[str, list[jax.Array]]]:
        """The name of each block, with the kernels of its layers in their order."""
        layers = range(1, self.model.layers_per_block + 1)
        for name in sorted({path.split("/")[1] for path in self.source}):
            if name.startswith("stage"):
                yield name, [self.source[f"params/{name}/conv{layer}/kernel"] for layer in layers]

    def put_layer(self, block: str, layer: int, kernel: jax.Array, stream: str) -> None:
        """Sets a layer's kernel, and copies its bias and batch norm to one stream."""
        self.target[f"params/{block}/conv{layer}/kernel"] = kernel
        self._put_vectors(f"{block}/conv{layer}", f"{block}/norm{layer}", stream)

    def put_identity_norm(self, block: str, layer: int, bias: Any = 0) -> None:
        """Makes a batch norm add only a bias on the residual stream, in inference."""
        scale = (1 + self.model.norm_epsilon) ** 0.5
        self._put(f"params/{block}/norm{layer}/scale", "r", scale)
        self._put(f"params/{block}/norm{layer}/bias", "r", bias)

    def result(self) -> tuple[Network, dict[str, Any]]:
        """The network and its variables."""
        return self.model, unflatten_dict(self.target, sep="/")

    def _put_ends(self, stream):
        self._put("params/stem_conv/kernel", stream, self.source["params/stem_conv/kernel"])
        self._put_vectors("stem_conv", "stem_norm", stream)
        for name, value in self.source.items():
            if name.endswith("projection/kernel") or "/head_" in name:
                self.target[name] = value
        head = f"params/head_{self.model.head}/kernel"  # it reads from one stream
        width = self.source[head].shape[-2]
        pads = [(0, 0)] * (self.source[head].ndim - 2)
        pads += [(0, width) if stream == "r" else (width, 0), (0, 0)]
        self.target[head] = jnp.pad(self.source[head], pads)

    def _put_vectors(self, conv, norm, stream):
        of_norm = [f"params/{norm}/bias", f"params/{norm}/scale"]
        of_norm += [f"batch_stats/{norm}/mean", f"batch_stats/{norm}/var"]
        for name in (f"params/{conv}/bias", *of_norm):
            if name in self.source:
                self._put(name, stream, self.source[name])

    def _put(self, name, stream, value):
        whole = self.target[name]
        half = streams.half(stream, whole.shape[-1] // 2)
        self.target[name] = whole.at[..., half].set(value)
