"""The layers that networks are made of: ordinary ones and generalized residual ones.

A generalized layer computes, for both streams ``[r; t]`` of its input at once,

    r' = sigma( conv(r, W_rr) + conv(t, W_tr) + shortcut(r) )        (paper, Eq. 1)
    t' = sigma( conv(r, W_rt) + conv(t, W_tt) )                      (paper, Eq. 2)

without sigma. The caller adds sigma, batch normalization and ReLU, so these layers take the place
of ``nn.Conv`` and ``nn.Dense`` in any network. The stored parameter is ``W`` alone; the layer adds
the shortcut when it is applied. Weight decay on the stored kernel is thus the paper's L2 penalty,
which leaves the identity out.
"""

from collections.abc import Callable, Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from rir_jax.models import streams
from rir_jax.models.checks import AXES, check_array, check_conv, check_generalized, check_streams
from rir_jax.models.dtypes import promote_dtype
from rir_jax.models.fields import make_plain
from rir_jax.models.initializers import msr, resnet_init
from rir_jax.ops.convolution import convolve

INITIALIZERS = {"msr": msr, "glorot": nn.initializers.glorot_normal()}
"""The initializers of kernels, by their names in configs."""


@jax.custom_jvp
def relu(x: jax.Array) -> jax.Array:
    """``max(x, 0)``, whose backward pass keeps the output alone.

    The next layer keeps the output anyway. A gradient computed from the input would keep both.
    """
    return jnp.maximum(x, 0)


@relu.defjvp
def _relu_jvp(primals, tangents):
    y = relu(*primals)
    return y, jnp.where(y > 0, tangents[0], 0)


def resnet_init_conv(
    features: int,
    kernel_size: int | Sequence[int] = 3,
    strides: int | Sequence[int] = 1,
    use_bias: bool = False,
    **fields: Any,
) -> nn.Conv:
    """An ``nn.Conv`` that starts as a `GeneralizedConv` with the same arguments.

    It has the initializer `resnet_init`, and padding by half of the kernel on every side.

    Args:
      features: number of output channels, both streams together.
      kernel_size: size of the kernel, odd, as in `GeneralizedConv`.
      strides: stride, as in `GeneralizedConv`.
      use_bias: whether a bias is added, which batch norm makes needless.
      **fields: other fields that both layers have, such as ``dtype`` and ``name``.

    Raises:
      ValueError, TypeError: a field is wrong, see `GeneralizedConv`.

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

    ``H'`` is ``H / stride``, rounded up. The input has any number of batch axes, or none.

    The fields are those of ``nn.Conv``, except dilations, groups, masks and other paddings, which
    would separate a shortcut from the pixels and channels that it connects.

    Attributes:
      features: number of output channels.
      kernel_size: size of the kernel, odd: a number for 2 spatial axes, or one for each of 1 to 3.
      strides: stride: a number for all spatial axes, or one for each.
      padding: half of the kernel on every side, which is the default. Any form that ``nn.Conv``
        takes will do, but "SAME" means this at stride 1 alone.
      use_bias: whether a bias is added. (``nn.Conv`` adds one by default.)
      dtype: type of the computation; None: the promoted type of input and parameters.
      param_dtype: type of the parameters.
      precision: precision of the products, see ``jax.lax.Precision``; None: the device's fastest.
      kernel_init: initializer ``(key, shape, dtype) -> kernel [*kernel_size, C, features]``.
      bias_init: initializer ``(key, shape, dtype) -> bias [features]``.
      promote_dtype: function ``(x, kernel, bias, dtype=)`` that returns the three in the type of
        the computation.

    Raises:
      ValueError: a field is out of range (on construction), or the input is not
        ``[..., H, W, C]`` (on application).
      TypeError: a field is unknown (on construction), or the input is not floating.
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
        check_conv(self)
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
        """Raises an error for an input that the layer cannot take, before it computes anything."""
        axes = AXES[-len(self.window) :]
        what = f"[..., {', '.join(axes)}, C]"
        check_array(self, x, what, x.ndim > len(axes) and 0 not in x.shape[-len(axes) - 1 :])

    def applied_kernel(self, kernel: jax.Array) -> jax.Array:
        """The kernel of the convolution, made from the stored one."""
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
            names = AXES[-axes:]
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
    residual stream is part of the applied kernel and costs no extra convolution. The layer takes
    the place of an ``nn.Conv``; its other fields are those of `Conv`.

    Attributes:
      shortcut: kind of shortcut: "zero_pad", the identity with zeros for new channels, or
        "projection", a learnt 1x1 convolution where shape or stride change (else the identity).

    Raises:
      ValueError: as `Conv`; also the shortcut is unknown, the features or the input cannot be
        split in two, or a zero-padded shortcut would have to narrow the streams.
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
        check_generalized(self)
        super().__post_init__()

    def check_input(self, x: jax.Array) -> None:
        super().check_input(x)
        check_streams(self, x)

    def applied_kernel(self, kernel: jax.Array) -> jax.Array:
        return kernel + _shortcut_kernel(self, kernel, max(self.steps))


class GeneralizedDense(nn.Module):
    """The generalized residual layer for fully connected networks, before sigma.

    ``[..., in]`` to ``[..., features]``; both hold two streams, ``[r; t]``. The layer takes the
    place of an ``nn.Dense`` and has its fields, except ``dot_general``.

    Attributes:
      features: number of outputs, both streams together.
      use_bias: whether a bias is added.
      dtype: type of the computation; None: the promoted type of input and parameters.
      param_dtype: type of the parameters.
      precision: precision of the products, see ``jax.lax.Precision``.
      kernel_init: initializer ``(key, shape, dtype) -> kernel [in, features]``.
      bias_init: initializer ``(key, shape, dtype) -> bias [features]``.
      promote_dtype: function ``(x, kernel, bias, dtype=)`` that returns the three in the type of
        the computation.
      shortcut: kind of shortcut, as in `GeneralizedConv`.

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
        check_generalized(self)
        super().__post_init__()

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        check_array(self, x, "[..., in]", x.ndim >= 1)
        check_streams(self, x)
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


def _by_axis(value, axes):
    return (value,) * axes if isinstance(value, int) else tuple(value)
