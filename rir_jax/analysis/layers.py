"""The layers of a network with their costs, found by running it on shapes alone."""

import dataclasses
import math

import flax.linen as nn
import jax

from rir_jax.models.layers import Conv, GeneralizedConv
from rir_jax.models.network import Network
from rir_jax.models.norm import BatchNorm


@dataclasses.dataclass(frozen=True)
class Layer:
    """A layer of a network that has weights, applied to one image.

    Attributes:
      name: path of its module, such as "stage1_block1/conv1".
      kind: kind of layer, in words.
      input_shape: shape of its input, ``(H, W, C)`` or ``(C,)``.
      output_shape: shape of its output, ``(H, W, C)`` or ``(C,)``.
      parameters: number of trainable parameters, with those of the batch norm after it.
      macs: number of multiplications, each with an addition, in convolutions and matrix products.
        Batch norms, shortcuts and ReLUs do not count: in inference they are folded or additions.
    """

    name: str
    kind: str
    input_shape: tuple[int, ...]
    output_shape: tuple[int, ...]
    parameters: int
    macs: int


def layers_of(model: Network, image_shape: tuple[int, int, int] = (32, 32, 3)) -> list[Layer]:
    """The layers of a network, from input to output. Runs on shapes alone.

    Args:
      model: any network of this package.
      image_shape: shape ``(H, W, C)`` of the images.

    Examples:
      >>> import rir_jax
      >>> layers = layers_of(rir_jax.create_model("rir32"))
      >>> len(layers), sum(layer.parameters for layer in layers)
      (32, 464154)
    """
    found: list[Layer] = []

    def watch(call, args, kwargs, context):
        y = call(*args, **kwargs)
        module = context.module
        if context.method_name != "__call__":
            return y
        if isinstance(module, Conv | nn.Dense):
            found.append(_layer(module, args[0], y))
        elif isinstance(module, BatchNorm):
            found[-1] = dataclasses.replace(
                found[-1],
                kind=f"{found[-1].kind}, batch norm",
                parameters=found[-1].parameters + _count(module),
            )
        return y

    def run(images):
        with nn.intercept_methods(watch):
            return model.init(jax.random.key(0), images)

    jax.eval_shape(run, jax.ShapeDtypeStruct((1, *image_shape), model.dtype_for(model.param_dtype)))
    return found


def _layer(module, x, y):
    count = _count(module)
    shapes = x.shape[1:], y.shape[1:]
    if isinstance(module, nn.Dense):
        return Layer(_name(module), "dense", *shapes, count, x.shape[-1] * y.shape[-1])
    kind = "generalized" if isinstance(module, GeneralizedConv) else "convolution"
    kind = f"{kind} {sizes(module.window)}"
    if max(module.steps) > 1:
        kind += f", stride {max(module.steps)}"
    macs = math.prod(module.window) * x.shape[-1] * math.prod(y.shape[1:])
    return Layer(_name(module), kind, *shapes, count, macs)


def _name(module):
    return "/".join(module.path)


def _count(module):
    return sum(leaf.size for leaf in jax.tree.leaves(module.variables["params"]))


def table(layers: list[Layer]) -> str:
    """A table of layers as text, with their shares of the multiplications and a last line of sums.

    Examples:
      >>> import rir_jax
      >>> model = rir_jax.create_model("cnn32", widths=(16,), blocks=(1,), layers_per_block=1)
      >>> print(table(layers_of(model)))
      layer                layer type                   input     output    parameters       MACs   share
      stem_conv            convolution 3x3, batch norm  32x32x3   32x32x16         464    442,368  15.8 %
      stage1_block1/conv1  convolution 3x3, batch norm  32x32x16  32x32x16       2,336  2,359,296  84.2 %
      head_dense           dense                        16        10               170        160   0.0 %
      3 layers                                                                   2,970  2,801,824
    """  # noqa: E501  (it is a wide table)
    macs = sum(layer.macs for layer in layers)
    rows = [("layer", "layer type", "input", "output", "parameters", "MACs", "share")]
    rows += [
        (
            layer.name,
            layer.kind,
            sizes(layer.input_shape),
            sizes(layer.output_shape),
            f"{layer.parameters:,}",
            f"{layer.macs:,}",
            f"{100 * layer.macs / macs:.1f} %",
        )
        for layer in layers
    ]
    parameters = sum(layer.parameters for layer in layers)
    rows.append((f"{len(layers)} layers", "", "", "", f"{parameters:,}", f"{macs:,}", ""))
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if column < 4 else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    )


def sizes(shape: tuple[int, ...]) -> str:
    """A shape as text, such as "32x32x3"."""
    return "x".join(map(str, shape))
