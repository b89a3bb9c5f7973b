"""A trained network as an ONNX file, for runtimes without JAX.

The graph is the network as `rir_jax.fold` returns it, with its preprocessing in front: from uint8
images ``[N, H, W, C]`` ("images"), any N, to float32 logits ``[N, num_classes]`` ("logits"). It
consists of convolutions, additions, ReLUs and a mean, of opset 17.
"""

import json
from typing import Any

import jax
import numpy as np

from rir_jax.models.fold import PlainNetwork, fold
from rir_jax.models.network import Network
from rir_jax.models.streams import stream_width
from rir_jax.version import __version__

_OPSET, _IR_VERSION = 17, 8  # from 2022, which most runtimes can read


def to_onnx(model: Network, variables: Any, info: Any) -> bytes:
    """The content of a network's ONNX file. Its metadata holds the class names, as JSON.

    Args:
      model: the network; the graph computes in float32, whatever the network's dtype.
      variables: "params" and "batch_stats" of the network.
      info: the network's `Info`.

    Raises:
      ValueError: the variables belong to another network.

    Examples:
      >>> import jax.numpy as jnp, rir_jax
      >>> model = rir_jax.create_model("rir32", widths=(4,), blocks=(1,), stem_width=4)
      >>> info = rir_jax.Info(list("0123456789"), (8, 8, 1), mean=[80.0], std=[60.0])
      >>> variables = jax.jit(model.init)(jax.random.key(0), jnp.zeros((1, 8, 8, 1)))
      >>> len(to_onnx(model, variables, info)) > 1000
      True
    """
    from onnx import TensorProto, helper

    plain, folded = fold(model, variables)
    graph = _Graph()
    logits = _network(graph, plain, jax.device_get(folded)["params"], info)
    graph.add("Identity", [logits], output="logits")
    images: list[str | int | None] = ["N", *info.image_shape]
    classes: list[str | int | None] = ["N", len(info.class_names)]
    made = helper.make_model(
        helper.make_graph(
            graph.nodes,
            "rir_jax",
            [helper.make_tensor_value_info("images", TensorProto.UINT8, images)],
            [helper.make_tensor_value_info("logits", TensorProto.FLOAT, classes)],
            graph.constants,
        ),
        opset_imports=[helper.make_opsetid("", _OPSET)],
        ir_version=_IR_VERSION,
        producer_name="rir_jax",
        producer_version=__version__,
    )
    described = {"class_names": json.dumps(info.class_names), "dataset": info.dataset}
    helper.set_model_props(made, described)
    return made.SerializeToString()


def run(content: bytes, images: np.ndarray) -> np.ndarray:
    """Runs an ONNX file with onnxruntime, on the CPU: uint8 images to float32 logits."""
    import onnxruntime

    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    [logits] = session.run(["logits"], {"images": np.asarray(images)})
    return logits


class _Graph:
    """The nodes and constants of a graph, named by number. Images are float32 ``[N, C, H, W]``."""

    def __init__(self):
        self.nodes, self.constants = [], []

    def add(self, kind, inputs, output=None, **attributes):
        """Adds an operation on outputs, by name, and arrays. Returns its own output's name."""
        from onnx import helper

        output = output or f"{kind}_{len(self.nodes)}"
        names = [x if isinstance(x, str) else self._constant(x) for x in inputs]
        self.nodes.append(helper.make_node(kind, names, [output], **attributes))
        return output

    def _constant(self, array):
        from onnx import numpy_helper

        name = f"constant_{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.asarray(array), name))
        return name

    def conv(self, x, params, stride=1):
        """A convolution with symmetric padding, its kernel in Flax's order."""
        kernel = np.float32(params["kernel"]).transpose(3, 2, 0, 1)
        before = [size // 2 for size in kernel.shape[2:]]
        inputs = [x, kernel] + [np.float32(params[name]) for name in ("bias",) if name in params]
        return self.add("Conv", inputs, strides=[stride] * 2, pads=before * 2)


def _network(graph: _Graph, plain: PlainNetwork, params: dict[str, Any], info: Any) -> str:
    """Adds a folded network that reads "images". Returns its logits' name. See `Network`."""
    from onnx import TensorProto

    x = graph.add("Cast", ["images"], to=TensorProto.FLOAT)
    x = graph.add("Div", [graph.add("Sub", [x, info.mean]), info.std])
    x = graph.add("Transpose", [x], perm=[0, 3, 1, 2])
    x = graph.add("Relu", [graph.conv(x, params["stem_conv"])])
    width = plain.stem_width
    for stage, (features, blocks) in enumerate(zip(plain.widths, plain.blocks, strict=True), 1):
        for block in range(1, blocks + 1):
            stride = 2 if stage > 1 and block == 1 else 1
            of_block = params[f"stage{stage}_block{block}"]
            x = _block(graph, plain, of_block, x, (width, features), stride)
            width = features
    if plain.head == "conv":
        x = graph.conv(x, params["head_conv"])
        if plain.head_relu:
            x = graph.add("Relu", [x])
        return graph.add("Flatten", [graph.add("GlobalAveragePool", [x])])
    x = graph.add("Flatten", [graph.add("GlobalAveragePool", [x])])
    dense = params["head_dense"]
    return graph.add("Gemm", [x, np.float32(dense["kernel"]), np.float32(dense["bias"])])


def _block(graph, plain, params, x, widths, stride):
    """Adds a block. See `ResidualBlock`."""
    outer, layers = plain.outer_shortcut, plain.layers_per_block
    skip = None if outer == "none" else _outer_shortcut(graph, plain, params, x, widths, stride)
    strided = 1 if plain.stride_layer == "first" else layers
    for layer in range(1, layers + 1):
        joins = outer if layer == layers else "none"
        x = graph.conv(x, params[f"conv{layer}"], stride if layer == strided else 1)
        if joins in ("pre_norm", "pre_relu"):
            x = graph.add("Add", [x, skip])
        x = graph.add("Relu", [x])
        if joins == "post_relu":
            x = graph.add("Add", [x, skip])
    return x


def _outer_shortcut(graph, plain, params, x, widths, stride):
    """Adds a block's outer shortcut. See `PlainBlock.outer_shortcut_of`."""
    features = widths[1]
    taken = stream_width(widths[0]) if plain.two_streams else widths[0]
    projects = "projection" in params
    steps = [1, 1 if projects else stride, 1 if projects else stride]
    if taken != widths[0] or max(steps) > 1:
        ends = [taken, np.iinfo(np.int64).max, np.iinfo(np.int64).max]
        x = graph.add("Slice", [x, *map(np.int64, ([0, 0, 0], ends, [1, 2, 3], steps))])
    if projects:
        x = graph.conv(x, params["projection"], stride)
        taken = params["projection"]["kernel"].shape[-1]
    if taken != features:
        x = graph.add("Pad", [x, np.int64([0] * 5 + [features - taken, 0, 0])])
    if plain.outer_shortcut == "pre_norm":
        x = graph.add("Mul", [x, np.float32(params["shortcut_scale"])[:, None, None]])
    return x
