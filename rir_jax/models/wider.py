"""A network of two streams that takes in one of a single stream, on either of the two."""

from typing import Any

import flax.traverse_util
import jax
import jax.numpy as jnp

from rir_jax.models import streams
from rir_jax.models.network import Network
from rir_jax.models.variables import check_variables, variable_shapes


class Wider:
    """A network of two streams in the making, zero but for what is put on one of them.

    Its ends, and the projections of its outer shortcuts, are those of the network that it
    takes in on ``stream``; its blocks are still to be put. Entries are named
    ``"params/stage1_block1/conv1/kernel"``.
    """

    def __init__(self, model: Network, variables: Any, stream: str, **fields: Any):
        check_variables(model, variables)
        self.source = _flat({name: variables[name] for name in ("params", "batch_stats")})
        self.epsilon = model.norm_epsilon
        self.model = model.clone(
            two_streams=True,
            stem_width=2 * model.stem_width,
            widths=tuple(2 * width for width in model.widths),
            **fields,
        )
        channels = self.source["params/stem_conv/kernel"].shape[2]
        shapes = _flat(variable_shapes(self.model, channels))
        fill = {"scale": 1, "var": 1}
        self.target = {
            name: jnp.full(leaf.shape, fill.get(name.split("/")[-1], 0), leaf.dtype)
            for name, leaf in shapes.items()
        }
        self.block_names = [name for name in variables["params"] if name.startswith("stage")]
        self._put_ends(stream)

    def kernels(self, block: str) -> list[jax.Array]:
        """The kernels of a block's layers, in their order."""
        layers = range(1, self.model.layers_per_block + 1)
        return [self.source[f"params/{block}/conv{layer}/kernel"] for layer in layers]

    def folded_norm(self, block: str, layer: int) -> tuple[jax.Array, jax.Array]:
        """The scale of a layer's batch norm, and what it adds, its convolution's bias included."""
        names = _norm_names(f"{block}/norm{layer}")
        bias, scale, mean, var = (self.source[name] for name in names)
        scale = scale * jax.lax.rsqrt(var + self.epsilon)
        conv_bias = self.source.get(f"params/{block}/conv{layer}/bias", 0)
        return scale, bias + scale * (conv_bias - mean)

    def put_layer(self, block: str, layer: int, kernel: jax.Array, stream: str) -> None:
        """A layer's filters, and its bias and batch norm on one stream."""
        self.target[f"params/{block}/conv{layer}/kernel"] = kernel
        self._put_vectors(f"{block}/conv{layer}", f"{block}/norm{layer}", stream)

    def put_identity_norm(self, block: str, layer: int, bias: Any = 0) -> None:
        """Batch norm that, on the residual stream and in inference, only adds a bias."""
        for name, value in (("scale", (1 + self.epsilon) ** 0.5), ("bias", bias)):
            self._put(f"params/{block}/norm{layer}/{name}", "r", value)

    def result(self) -> tuple[Network, dict[str, Any]]:
        """The network and its variables."""
        return self.model, flax.traverse_util.unflatten_dict(self.target, sep="/")

    def _put_ends(self, stream):
        self._put("params/stem_conv/kernel", stream, self.source["params/stem_conv/kernel"])
        self._put_vectors("stem_conv", "stem_norm", stream)
        for name, value in self.source.items():
            if name.endswith("projection/kernel") or "/head_" in name:
                self.target[name] = value
        head = f"params/head_{self.model.head}/kernel"  # reads from one stream
        width = self.source[head].shape[-2]
        pads = [(0, 0)] * (self.source[head].ndim - 2)
        pads += [(0, width) if stream == "r" else (width, 0), (0, 0)]
        self.target[head] = jnp.pad(self.source[head], pads)

    def _put_vectors(self, conv, norm, stream):
        for name in (f"params/{conv}/bias", *_norm_names(norm)):
            if name in self.source:
                self._put(name, stream, self.source[name])

    def _put(self, name, stream, value):
        whole = self.target[name]
        half = streams.half(stream, whole.shape[-1] // 2)
        self.target[name] = whole.at[..., half].set(value)


def _norm_names(norm):
    names = [f"params/{norm}/bias", f"params/{norm}/scale"]
    return [*names, f"batch_stats/{norm}/mean", f"batch_stats/{norm}/var"]


def _flat(tree):
    return flax.traverse_util.flatten_dict(tree, sep="/")
