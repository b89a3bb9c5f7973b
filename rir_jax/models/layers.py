"""The layers that networks are made of: ordinary ones and generalized residual ones.

A generalized layer computes, for both streams ``[r; t]`` of its input at once,

    r' = sigma( conv(r, W_rr) + conv(t, W_tr) + shortcut(r) )        (paper, Eq. 1)
    t' = sigma( conv(r, W_rt) + conv(t, W_tt) )                      (paper, Eq. 2)

up to sigma (batch normalization and ReLU, which the caller adds, so that these layers drop
into any network in place of ``nn.Conv`` and ``nn.Dense``). The stored parameter is ``W``
alone. The shortcut is added to it on application, so that weight decay on the stored kernel
is the paper's L2 penalty, with the identity taken off.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from flax.linen.linear import canonicalize_padding

from rir_jax.models import streams
from rir_jax.models.dtypes import promote_dtype
from rir_jax.models.fields import is_positive, make_plain, refuse
from rir_jax.ops.convolution import convolve

SHORTCUTS = ("zero_pad", "projection")


def msr(key: jax.Array, shape: Sequence[int], dtype=jnp.float32) -> jax.Array:
    """MSR (He et al.) initialization, ``(key, shape, dtype) -> array``: N(0, 2 / fan_in).

    Examples:
      >>> msr(jax.random.key(0), (3, 3, 16, 16)).std().round(2)
      Array(0.12, dtype=float32)
    """
    # Drawn flat: LLVM unrolls short axes around the generator, which takes a second to compile.
    flat = jax.random.normal(key, (math.prod(shape),), dtype)
    return flat.reshape(shape) * jnp.sqrt(jnp.array(2 / math.prod(shape[:-1]), dtype))


INITIALIZERS = {"msr": msr, "glorot": nn.initializers.glorot_normal()}
"""Of kernels, by the names that configs use."""


@jax.custom_jvp
def relu(x: jax.Array) -> jax.Array:
    """``max(x, 0)``, whose gradient needs the output alone.

    A ReLU that looks at its input keeps both for the backward pass. The output is there
    anyway, for the next layer.
    """
    return jnp.maximum(x, 0)


@relu.defjvp
def _relu_jvp(primals, tangents):
    y = relu(*primals)
    return y, jnp.where(y > 0, tangents[0], 0)


def resnet_init(key: jax.Array, shape: Sequence[int], dtype: Any = jnp.float32) -> jax.Array:
    """ResNet Init (paper, section 3): MSR plus a partial identity, as an initializer.

    An ordinary layer over ``[r; t]`` with it starts out as a generalized layer, at no cost in
    computation or parameters. (Weight decay would pull this shortcut to zero: `GeneralizedConv`
    keeps it out of the parameter.)

    ``nn.Dense(64, kernel_init=resnet_init)`` needs nothing else. ``nn.Conv`` needs padding by half
    of its kernel on every side: Flax's default, "SAME", pads one side alone at stride 2, and the
    shortcut then reads beside its pixels. It needs no bias where batch norm follows, and with
    one is ``GeneralizedConv(use_bias=True)``. `resnet_init_conv` makes such an ``nn.Conv``.

    Args:
      key: of the random numbers.
      shape: ``(*spatial, in, out)`` with odd spatial sizes and even ``in`` <= ``out``.
      dtype: of the result.

    Raises:
      ValueError: a shape without two streams, with narrowing ones, or without a centre.

    Examples:
      >>> kernel = resnet_init(jax.random.key(0), (3, 3, 4, 4))
      >>> kernel.shape
      (3, 3, 4, 4)
    """
    identity = streams.partial_identity(tuple(shape), dtype)
    return identity + msr(key, shape, dtype)


def resnet_init_conv(
    features: int,
    kernel_size: int | Sequence[int] = 3,
    strides: int | Sequence[int] = 1,
    use_bias: bool = False,
    **fields: Any,
) -> nn.Conv:
    """An ``nn.Conv`` that starts out as ``GeneralizedConv(features, kernel_size, strides)``.

    It has `resnet_init`, the padding that this takes, and a bias only if asked for one.

    Args:
      features: output channels, both streams together.
      kernel_size: odd, as in `GeneralizedConv`.
      strides: as in `GeneralizedConv`.
      use_bias: whether a bias is added.
      **fields: others that both layers have, such as ``dtype`` and ``name``.

    Raises:
      ValueError, TypeError: as `GeneralizedConv`.

    Examples:
      >>> conv = resnet_init_conv(8, strides=2)
      >>> conv.padding
      ((1, 1), (1, 1))
      >>> conv.init_with_output(jax.random.key(0), jnp.ones((1, 6, 6, 4)))[0].shape
      (1, 3, 3, 8)
    """
    checked = GeneralizedConv(features, kernel_size, strides, parent=None, **fields)
    return nn.Conv(
        features,
        checked.window,
        checked.steps,
        use_bias=use_bias,
        kernel_init=resnet_init,
        **{**fields, "padding": checked.pads},
    )


class Conv(nn.Module):
    """A convolution with symmetric padding, ``[..., H, W, C]`` to ``[..., H', W', features]``.

    ``H'`` is ``H / stride``, rounded up. There may be any number of batch axes, or none.

    It takes what ``nn.Conv`` takes, but nothing that would tear a shortcut from the pixels and
    channels that it joins: dilations, groups, masks and other paddings are unknown to it.

    Attributes:
      features: output channels.
      kernel_size: odd: a number for 2 spatial axes, or one for each of 1 to 3 axes.
      strides: a number for all spatial axes, or one for each.
      padding: half of the kernel on every side. It may be left out, or given as ``nn.Conv`` has it;
        "SAME" means this at stride 1 alone.
      use_bias: whether a bias is added. (``nn.Conv`` has one unless told otherwise.)
      dtype: type of the computation; None: that of the input and the parameters together.
      param_dtype: type of the parameters.
      precision: of the products, see ``jax.lax.Precision``; None: as fast as the device has them.
      kernel_init: ``(key, shape, dtype) -> kernel [*kernel_size, C, features]``.
      bias_init: ``(key, shape, dtype) -> bias [features]``.
      promote_dtype: ``(x, kernel, bias, dtype=)`` to the three in the type of the computation.

    Raises:
      ValueError: on construction, a field that is out of range; on application, an input that
        is not ``[..., H, W, C]``.
      TypeError: on construction, an unknown field; on application, an input that is not floating.
    """

    features: int
    kernel_size: int | Sequence[int] = 3
    strides: int | Sequence[int] | None = 1
    padding: Any = None
    use_bias: bool = False
    dtype: Any = None
    param_dtype: Any = jnp.float32
    precision: Any = None
    kernel_init: Callable[..., jax.Array] = msr
    bias_init: Callable[..., jax.Array] = nn.initializers.zeros
    promote_dtype: Callable[..., Any] = promote_dtype

    def __post_init__(self):
        make_plain(self)
        _check_conv(self)
        super().__post_init__()

    @property
    def window(self) -> tuple[int, ...]:
        """The kernel's size on each spatial axis."""
        return _by_axis(self.kernel_size, 2)

    @property
    def steps(self) -> tuple[int, ...]:
        """The stride on each spatial axis."""
        return _by_axis(self.strides or 1, len(self.window))

    @property
    def pads(self) -> tuple[tuple[int, int], ...]:
        """The zeros before and after each spatial axis."""
        return tuple((size // 2, size // 2) for size in self.window)

    def check_input(self, x: jax.Array) -> None:
        """Refuses an input that the layer cannot take, before anything is computed."""
        axes = _AXES[-len(self.window) :]
        what = f"[..., {', '.join(axes)}, C]"
        _check_input(self, x, what, x.ndim > len(axes) and 0 not in x.shape[-len(axes) - 1 :])

    def applied_kernel(self, kernel: jax.Array) -> jax.Array:
        """The kernel that is convolved with, from the stored one."""
        return kernel

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        self.check_input(x)
        shape = (*self.window, x.shape[-1], self.features)
        kernel = self.param("kernel", self.kernel_init, shape, self.param_dtype)
        kernel = self.applied_kernel(kernel)
        x, kernel, bias = self.promote_dtype(x, kernel, _bias_of(self), dtype=self.dtype)
        y = self._convolve(x, kernel)
        return y if bias is None else y + bias.reshape((1,) * (y.ndim - 1) + (-1,))

    def _convolve(self, x, kernel):
        axes = len(self.window)
        batch = x.shape[: -axes - 1]
        images = x if len(batch) == 1 else x.reshape(-1, *x.shape[-axes - 1 :])
        if axes == 2 and len(set(self.steps)) == 1 and self.precision is None:
            y = convolve(images, kernel, self.steps[0])
        else:
            names = _AXES[-axes:]
            numbers = (f"N{names}C", f"{names}IO", f"N{names}C")
            y = jax.lax.conv_general_dilated(
                images,
                kernel,
                self.steps,
                self.pads,
                dimension_numbers=numbers,
                precision=self.precision,
            )
        return y if len(batch) == 1 else y.reshape(*batch, *y.shape[1:])


class GeneralizedConv(Conv):
    """The generalized residual layer (Eq. 1 and 2, before sigma) as one convolution.

    Input and output hold both streams, ``[r; t]``, on the channel axis. The shortcut of the
    residual stream costs no extra convolution: it is part of the applied kernel. It takes the place
    of an ``nn.Conv`` and has its fields, but for those that `Conv` does without.

    Attributes:
      shortcut: "zero_pad", the identity with zeros for new channels, or "projection", a learnt
        1x1 convolution where shape or stride change (the identity elsewhere).

    Raises:
      ValueError: on construction, as `Conv`, an unknown shortcut, or features that cannot be
        split; on application, an input that cannot be, or whose streams are wider than a
        zero-padded shortcut can take in.
      TypeError: as `Conv`.

    Examples:
      >>> layer = GeneralizedConv(8, strides=2)
      >>> y, variables = layer.init_with_output(jax.random.key(0), jnp.ones((1, 6, 6, 4)))
      >>> y.shape
      (1, 3, 3, 8)
    """

    shortcut: str = "zero_pad"

    def __post_init__(self):
        make_plain(self)
        _check_generalized(self)
        super().__post_init__()

    def check_input(self, x: jax.Array) -> None:
        super().check_input(x)
        _check_streams(self, x)

    def applied_kernel(self, kernel: jax.Array) -> jax.Array:
        return kernel + _shortcut_kernel(self, kernel, max(self.steps))


class GeneralizedDense(nn.Module):
    """The generalized residual layer for fully connected networks, before sigma.

    ``[..., in]`` to ``[..., features]``, both of them two streams ``[r; t]``. It takes the place of
    an ``nn.Dense`` and has its fields, but for ``dot_general``.

    Attributes:
      features: outputs, both streams together.
      use_bias: whether a bias is added.
      dtype: type of the computation; None: that of the input and the parameters together.
      param_dtype: type of the parameters.
      precision: of the products, see ``jax.lax.Precision``.
      kernel_init: ``(key, shape, dtype) -> kernel [in, features]``.
      bias_init: ``(key, shape, dtype) -> bias [features]``.
      promote_dtype: ``(x, kernel, bias, dtype=)`` to the three in the type of the computation.
      shortcut: as in `GeneralizedConv`.

    Raises:
      ValueError, TypeError: as `GeneralizedConv`.

    Examples:
      >>> layer = GeneralizedDense(6)
      >>> layer.init_with_output(jax.random.key(0), jnp.ones((2, 4)))[0].shape
      (2, 6)
    """

    features: int
    use_bias: bool = True
    dtype: Any = None
    param_dtype: Any = jnp.float32
    precision: Any = None
    kernel_init: Callable[..., jax.Array] = msr
    bias_init: Callable[..., jax.Array] = nn.initializers.zeros
    promote_dtype: Callable[..., Any] = promote_dtype
    shortcut: str = "zero_pad"

    def __post_init__(self):
        make_plain(self)
        _check_generalized(self)
        super().__post_init__()

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        _check_input(self, x, "[..., in]", x.ndim >= 1)
        _check_streams(self, x)
        shape = (x.shape[-1], self.features)
        kernel = self.param("kernel", self.kernel_init, shape, self.param_dtype)
        kernel = kernel + _shortcut_kernel(self, kernel)
        x, kernel, bias = self.promote_dtype(x, kernel, _bias_of(self), dtype=self.dtype)
        y = jnp.matmul(x, kernel, precision=self.precision)
        return y if bias is None else y + bias.reshape((1,) * (y.ndim - 1) + (-1,))


def _bias_of(layer):
    if not layer.use_bias:
        return None
    return layer.param("bias", layer.bias_init, (layer.features,), layer.param_dtype)


def _shortcut_kernel(layer, kernel, stride=1):
    """The residual stream's shortcut, as a kernel to add to the stored one."""
    width_in, width_out = (streams.stream_width(size) for size in kernel.shape[-2:])
    if layer.shortcut == "zero_pad" or (width_in == width_out and stride == 1):
        return streams.shortcut_kernel(kernel)
    shape = (width_in, width_out)
    projection = layer.param("projection", layer.kernel_init, shape, layer.param_dtype)
    return streams.shortcut_kernel(kernel, projection)


_AXES = "DHW"  # spatial axes: a layer with fewer has the last ones


def _by_axis(value, axes):
    return (value,) * axes if isinstance(value, int) else tuple(value)


def _check_conv(layer):
    if not is_positive(layer.features):
        refuse(layer, "features", "a whole number of 1 or more")
    for field in ("kernel_size", "strides"):
        value = getattr(layer, field)
        optional = value is None and field == "strides"
        numbers = value if isinstance(value, list | tuple) else (value,)
        if not optional and not (numbers and all(map(is_positive, numbers))):
            refuse(layer, field, "a whole number of 1 or more, or one for each spatial axis")
    window, steps = layer.window, layer.steps
    if len(window) > len(_AXES) or not all(size % 2 for size in window):
        refuse(layer, "kernel_size", "odd, for 1 to 3 spatial axes (a kernel has a centre)")
    if len(steps) != len(window):
        refuse(layer, "strides", f"one number, or {len(window)} as kernel_size has")
    _check_padding(layer)


def _check_padding(layer):
    padding = layer.padding
    if padding is None or (padding == "SAME" and max(layer.steps) == 1):
        return
    try:
        same = tuple(canonicalize_padding(padding, len(layer.window))) == layer.pads
    except (TypeError, ValueError):
        same = False
    if not same:
        refuse(
            layer,
            "padding",
            f"{layer.pads}, half of the kernel on every side; left out, it is that (at a stride "
            '"SAME" pads one side alone, which tears the shortcut from its pixels)',
        )


def _check_generalized(layer):
    if layer.shortcut not in SHORTCUTS:
        refuse(layer, "shortcut", ", ".join(map(repr, SHORTCUTS)))
    if not is_positive(layer.features) or layer.features % 2:
        allowed = (
            "an even number of 2 or more, for a residual and a transient stream of equal width"
        )
        refuse(layer, "features", allowed)


def _check_streams(layer, x):
    """Refuses an input without two streams, or with too wide ones for a zero-padded shortcut."""
    width = streams.stream_width(x.shape[-1])
    if layer.shortcut == "zero_pad" and x.shape[-1] > layer.features:
        raise ValueError(
            f"features is {layer.features}, two streams of {layer.features // 2}, for an input of "
            f"two streams of {width}; allowed with shortcut='zero_pad': no narrower than the input"
        )


def _check_input(layer, x, what, allowed):
    if not allowed:
        raise ValueError(f"{type(layer).__name__} got an input of shape {x.shape}; allowed: {what}")
    if not jnp.issubdtype(x.dtype, jnp.floating):
        raise TypeError(f"{type(layer).__name__} got {x.dtype}; allowed: a floating type")
