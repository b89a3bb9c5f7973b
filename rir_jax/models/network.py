"""One network for the four families: a stem, three stages of residual blocks, a head."""

import dataclasses
from collections.abc import Callable, Collection
from functools import partial
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from rir_jax.models import streams
from rir_jax.models.blocks import OUTER_SHORTCUTS, ResidualBlock
from rir_jax.models.checks import SHORTCUTS
from rir_jax.models.dtypes import promoted
from rir_jax.models.fields import is_positive, make_plain, refuse
from rir_jax.models.layers import INITIALIZERS, Conv, GeneralizedConv, relu
from rir_jax.models.norm import BatchNorm

CHOICES = {
    "shortcut": SHORTCUTS,
    "outer_shortcut": OUTER_SHORTCUTS,
    "stride_layer": ("first", "last"),
    "head": ("conv", "dense"),
    "kernel_init": tuple(INITIALIZERS),
}

# The fields by which families and sizes differ.
_ALWAYS_SHOWN = ("two_streams", "outer_shortcut", "widths", "blocks", "layers_per_block")


class Network(nn.Module):
    """A CNN, ResNet, ResNet Init or RiR (paper, Fig. 2), chosen by two fields.

    | family      | two_streams | outer_shortcut |
    |-------------|-------------|----------------|
    | CNN         | no          | "none"         |
    | ResNet      | no          | "pre_relu"     |
    | ResNet Init | yes         | "none"         |
    | RiR         | yes         | "pre_relu"     |

    ``images [N, H, W, C]``, floating, to logits ``[N, num_classes]``, float32 or wider. Pure
    inference by default; ``train=True`` normalizes with the batch's statistics and updates the
    running ones (collection ``batch_stats``).

    Attributes:
      num_classes: number of outputs.
      two_streams: whether the layers are generalized ones, on a residual and a transient stream of
        half the width each.
      outer_shortcut: place where a block's shortcut is added, see `ResidualBlock`.
      stem_width: number of channels of the first convolution.
      widths: number of channels of each stage, both streams together.
      blocks: number of residual blocks of each stage; every stage but the first halves the image.
      layers_per_block: number of layers in a block.
      shortcut: kind of shortcut where the shape changes, "zero_pad" or "projection".
      stride_layer: the layer of a block that has its stride, "first" or "last".
      head: "conv" (1x1 convolution, batch norm, pooling) or "dense" (pooling, dense layer).
      head_relu: whether a ReLU follows the batch norm of a "conv" head.
      use_bias: whether the convolutions have biases.
      kernel_init: initializer of the kernels, "msr" (He et al.) or "glorot".
      norm_momentum: part of the running statistics that each step keeps: running = momentum *
        running + (1 - momentum) * batch.
      norm_epsilon: number that the batch norms add to a variance.
      dtype: type of the computation; None: the promoted type of images and parameters.
      param_dtype: type of the parameters. (Statistics are float32, or float64 if both types are.)

    Raises:
      ValueError: a field is out of range (on construction), or the images have the wrong rank or
        number of channels (on application).
      TypeError: the images are not floating (on application).
    """

    num_classes: int
    two_streams: bool = True
    outer_shortcut: str = "pre_relu"
    stem_width: int = 16
    widths: tuple[int, ...] = (16, 32, 64)
    blocks: tuple[int, ...] = (5, 5, 5)
    layers_per_block: int = 2
    shortcut: str = "zero_pad"
    stride_layer: str = "first"
    head: str = "dense"
    head_relu: bool = False
    use_bias: bool = False
    kernel_init: str = "msr"
    norm_momentum: float = 0.9
    norm_epsilon: float = 1e-5
    dtype: Any = jnp.float32
    param_dtype: Any = jnp.float32

    def __post_init__(self):
        make_plain(self)
        _check_fields(self)
        super().__post_init__()

    def __repr__(self) -> str:
        """The network's family and size, and the other fields that are not at their defaults.

        Examples:
          >>> Network(10, widths=(16, 32), blocks=(1, 1))  # doctest: +NORMALIZE_WHITESPACE
          Network(num_classes=10, two_streams=True, outer_shortcut='pre_relu',
                  widths=(16, 32), blocks=(1, 1), layers_per_block=2)
        """
        texts = [
            f"{field.name}={_readable(getattr(self, field.name))}"
            for field in dataclasses.fields(self)
            if field.name != "parent"
            and (field.name in _ALWAYS_SHOWN or getattr(self, field.name) != field.default)
        ]
        return f"{type(self).__name__}({', '.join(texts)})"

    def __call__(
        self, images: ArrayLike, train: bool = False, frozen: Collection[str] = ()
    ) -> jax.Array:
        """Images ``[N, H, W, C]`` to logits ``[N, num_classes]``.

        With ``train=True``, the parts in ``frozen`` ("stem", "stage1", ...) still normalize with
        their running statistics and leave them unchanged.
        """
        return self._run(images, train, frozen)["logits"]

    def features(self, images: ArrayLike, train: bool = False) -> jax.Array:
        """Images ``[N, H, W, C]`` to the features that the head reads, ``[N, widths[-1]]``.

        They are the mean of the last stage's output over its pixels, float32 or wider:
        ``model.apply(variables, images, method="features")``.

        Examples:
          >>> network = Network(10, widths=(4, 8), blocks=(1, 1), stem_width=4)
          >>> images = jnp.ones((2, 8, 8, 3))
          >>> variables = jax.jit(network.init)(jax.random.key(0), images)
          >>> network.apply(variables, images, method="features").shape
          (2, 8)
        """
        return self._run(images, train)["features"]

    def stages(self, images: ArrayLike, train: bool = False) -> dict[str, jax.Array]:
        """The output of the stem and of each stage, ``{"stem": [N, H, W, C], "stage1": ...}``.

        ``model.apply(variables, images, method="stages")``; see `features`.
        """
        outputs = self._run(images, train)
        return {name: x for name, x in outputs.items() if name not in ("features", "logits")}

    def dtype_for(self, images_dtype: Any) -> Any:
        """The type of the computation for images of type ``images_dtype``.

        Examples:
          >>> Network(10, dtype=None, param_dtype=jnp.bfloat16).dtype_for(jnp.bfloat16)
          dtype(bfloat16)
        """
        if self.dtype is None:
            return promoted(images_dtype, self.param_dtype)
        return jnp.dtype(self.dtype)

    @nn.compact
    def _run(self, images, train, frozen=()):
        """All outputs by name, in order. `jax.jit` leaves out the computation of unused ones."""
        check_images(self, images)
        dtype = self.dtype_for(images.dtype)
        parts = self._parts(train and "stem" not in frozen, dtype)
        x = parts.conv(self.stem_width, name="stem_conv")(images)
        x = relu(parts.norm(name="stem_norm")(x))
        outputs = {"stem": x}
        for stage, (width, blocks) in enumerate(zip(self.widths, self.blocks, strict=True), 1):
            parts = self._parts(train and f"stage{stage}" not in frozen, dtype)
            for block in range(1, blocks + 1):
                x = parts.block(
                    width,
                    self.layers_per_block,
                    conv=parts.layer,
                    projection=partial(parts.conv, kernel_size=1, use_bias=False),
                    norm=parts.norm,
                    stride=2 if stage > 1 and block == 1 else 1,
                    stride_layer=self.stride_layer,
                    two_streams=self.two_streams,
                    shortcut=self.shortcut,
                    outer_shortcut=self.outer_shortcut,
                    name=f"stage{stage}_block{block}",
                )(x)
            outputs[f"stage{stage}"] = x
        wide = promoted(dtype, jnp.float32)
        features = jnp.mean(x, axis=(1, 2), dtype=wide)
        head = self._head(x, features, self._parts(train, dtype), wide)
        return outputs | {"features": features, "logits": head}

    def _head(self, x, features, parts, wide):
        if self.head == "dense":
            dense = nn.Dense(
                self.num_classes, dtype=wide, param_dtype=self.param_dtype, name="head_dense"
            )
            return dense(features)
        x = parts.head_conv(self.num_classes, kernel_size=1, name="head_conv")(x)
        x = parts.norm(name="head_norm", dtype=wide)(x)
        if self.head_relu:
            x = relu(x)
        return jnp.mean(x, axis=(1, 2))

    def _parts(self, train, dtype) -> "Parts":
        types = {"dtype": dtype, "param_dtype": self.param_dtype}
        double = all(jnp.dtype(of) == jnp.float64 for of in types.values())
        norm = partial(
            BatchNorm,
            use_running_average=not train,
            momentum=self.norm_momentum,
            epsilon=self.norm_epsilon,
            statistics_dtype=jnp.float64 if double else jnp.float32,
            **types,
        )
        kernel_init = INITIALIZERS[self.kernel_init]
        conv = partial(Conv, use_bias=self.use_bias, kernel_init=kernel_init, **types)
        layer: Any = conv
        if self.two_streams:
            layer = partial(GeneralizedConv, shortcut=self.shortcut, **conv.keywords)
        return Parts(conv, layer, conv, norm, ResidualBlock)


def _readable(value):
    return jnp.dtype(value).name if isinstance(value, type | jnp.dtype) else repr(value)


class Parts(NamedTuple):
    """Functions that make a network's modules; each takes a ``name`` too.

    Attributes:
      conv: makes an ordinary convolution, for stem and projections: ``(features, kernel_size=)``.
      layer: makes the convolution of a layer in a block: ``(features, strides=)``.
      head_conv: makes the convolution of the head, as ``conv``.
      norm: makes a batch norm: ``()``.
      block: makes a block: `ResidualBlock` or a class like it.
    """

    conv: Callable[..., Any]
    layer: Callable[..., Any]
    head_conv: Callable[..., Any]
    norm: Callable[..., Any]
    block: Callable[..., Any]


def part_of(module: str) -> str:
    """The part of a network that a module belongs to: "stem", "stage1", ..., "head".

    Examples:
      >>> part_of("stage1_block2")
      'stage1'
    """
    return module.partition("_")[0]


def shortcuts(network: Network, params: Any) -> Any:
    """For each parameter, the partial identity that the layer adds to it, or zeros."""
    result = jax.tree.map(jnp.zeros_like, params)
    if network.two_streams:
        for block, layers in params.items():
            for name, layer in layers.items() if block.startswith("stage") else ():
                if name.startswith("conv") and "projection" not in layer:
                    kernel = layer["kernel"]
                    identity = streams.partial_identity(kernel.shape, kernel.dtype)
                    result[block][name]["kernel"] = identity
    return result


def check_images(network: nn.Module, images: jax.Array) -> None:
    """Checks the rank, type and number of channels of images; raises a ValueError or TypeError."""
    if images.ndim != 4:
        raise ValueError(f"images have shape {images.shape}; allowed: [N, H, W, C]")
    if not jnp.issubdtype(images.dtype, jnp.floating):
        raise TypeError(f"images are {images.dtype}; allowed: a floating type, normalized")
    if network.has_variable("params", "stem_conv"):
        expected: int = network.get_variable("params", "stem_conv")["kernel"].shape[2]
        if images.shape[-1] != expected:
            raise ValueError(
                f"images have {images.shape[-1]} channels; the network was made for {expected}"
            )


def _check_fields(network):
    """Raises a ValueError that names the first field with a value that is not allowed."""
    for field, allowed in CHOICES.items():
        if getattr(network, field) not in allowed:
            refuse(network, field, "one of " + ", ".join(map(repr, allowed)))
    for field in ("num_classes", "stem_width", "layers_per_block"):
        if not is_positive(getattr(network, field)):
            refuse(network, field, "a whole number of 1 or more")
    for field in ("widths", "blocks"):
        values = getattr(network, field)
        if not isinstance(values, tuple) or not values or not all(map(is_positive, values)):
            refuse(network, field, "a sequence of whole numbers of 1 or more")
    if len(network.widths) != len(network.blocks):
        refuse(network, "blocks", f"one number for each of the {len(network.widths)} widths")
    for field in ("two_streams", "head_relu", "use_bias"):
        if not isinstance(getattr(network, field), bool):
            refuse(network, field, "True or False")
    if not 0 <= network.norm_momentum < 1:
        refuse(network, "norm_momentum", "0 <= momentum < 1")
    if not network.norm_epsilon > 0:
        refuse(network, "norm_epsilon", "more than 0")
    _check_widths(network)


def _check_widths(network):
    widths = (network.stem_width, *network.widths)
    if network.two_streams:
        for field, value in [("stem_width", network.stem_width), ("widths", network.widths)]:
            for width in value if field == "widths" else [value]:
                try:
                    streams.stream_width(width)
                except ValueError as error:
                    raise ValueError(f"{field} is {value!r}: {error}") from None
    pads = network.shortcut == "zero_pad" and (
        network.two_streams or network.outer_shortcut != "none"
    )
    if pads and list(widths) != sorted(widths):
        refuse(network, "widths", f"none less than the one before, from stem_width {widths[0]} on")
