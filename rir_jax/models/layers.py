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
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from rir_jax.models import streams
from rir_jax.ops.convolution import convolve

SHORTCUTS = ("zero_pad", "projection")


def msr(key: jax.Array, shape: tuple[int, ...], dtype=jnp.float32) -> jax.Array:
    """MSR (He et al.) initialization, ``(key, shape, dtype) -> array``: N(0, 2 / fan_in).

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


def resnet_init(key: jax.Array, shape: tuple[int, ...], dtype=jnp.float32) -> jax.Array:
    """ResNet Init (paper, section 3): MSR plus a partial identity, as an initializer.

    For ordinary layers over ``[r; t]``: ``nn.Conv(64, (3, 3), kernel_init=resnet_init)`` starts
    out as a generalized layer, at no cost in computation or parameters. It needs ``shape`` =
    ``(*spatial, in, out)`` with odd spatial sizes and even ``in`` <= ``out``. (Weight decay would
    pull this shortcut to zero: `GeneralizedConv` keeps it out of the parameter.)

    Raises:
      ValueError: a shape without two streams, with narrowing ones, or without a centre.

    >>> kernel = resnet_init(jax.random.key(0), (3, 3, 4, 4))
    >>> kernel.shape
    (3, 3, 4, 4)
    """
    identity = streams.partial_identity(shape, dtype)
    return identity + msr(key, shape, dtype)


class Conv(nn.Module):
    """A convolution with symmetric padding: ``[N, H, W, C]`` to ``[N, H / s, W / s, features]``.

    Attributes:
      features: output channels.
      kernel_size: odd, the same for both axes.
      stride: of both axes.
      use_bias: whether a bias is added.
      dtype: type of the computation.
      param_dtype: type of the parameters.
      kernel_init: ``(key, shape, dtype) -> kernel [k, k, C, features]``.

    Raises:
      ValueError: on construction, a field that is out of range; on application, an input that
        is not ``[N, H, W, C]``.
      TypeError: on application, an input that is not floating.
    """

    features: int
    kernel_size: int = 3
    stride: int = 1
    use_bias: bool = False
    dtype: Any = jnp.float32
    param_dtype: Any = jnp.float32
    kernel_init: Any = msr

    def __post_init__(self):
        for field in ("features", "kernel_size", "stride"):
            value = getattr(self, field)
            if not isinstance(value, int) or value < 1:
                raise ValueError(f"{field} is {value!r}; allowed: a whole number of 1 or more")
        if self.kernel_size % 2 == 0:
            raise ValueError(f"kernel_size is {self.kernel_size}; allowed: odd (it has a centre)")
        super().__post_init__()

    def check_input(self, x: jax.Array) -> None:
        """Refuses an input that the layer cannot take, before anything is computed."""
        _check_input(self, x, "[N, H, W, C]", x.ndim == 4)

    def applied_kernel(self, kernel: jax.Array) -> jax.Array:
        """The kernel that is convolved with, from the stored one."""
        return kernel

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        self.check_input(x)
        shape = (self.kernel_size, self.kernel_size, x.shape[-1], self.features)
        kernel = self.param("kernel", self.kernel_init, shape, self.param_dtype)
        kernel = self.applied_kernel(kernel).astype(self.dtype)
        y = convolve(x.astype(self.dtype), kernel, self.stride)
        if self.use_bias:
            bias = self.param("bias", nn.initializers.zeros, (self.features,), self.param_dtype)
            y = y + bias.astype(self.dtype)
        return y


class GeneralizedConv(Conv):
    """The generalized residual layer (Eq. 1 and 2, before sigma) as one convolution.

    Input and output hold both streams, ``[r; t]``, on the channel axis. The shortcut of the
    residual stream costs no extra convolution: it is part of the applied kernel.

    Attributes:
      shortcut: "zero_pad", the identity with zeros for new channels, or "projection", a learnt
        1x1 convolution where shape or stride change (the identity elsewhere).

    Raises:
      ValueError: on construction, as `Conv`, an unknown shortcut, or features that cannot be
        split; on application, an input that cannot be, or whose streams are wider than a
        zero-padded shortcut can take in.
      TypeError: as `Conv`.

    >>> layer = GeneralizedConv(8, stride=2)
    >>> y, variables = layer.init_with_output(jax.random.key(0), jnp.ones((1, 6, 6, 4)))
    >>> y.shape
    (1, 3, 3, 8)
    """

    shortcut: str = "zero_pad"

    def __post_init__(self):
        _check_generalized(self)
        super().__post_init__()

    def check_input(self, x: jax.Array) -> None:
        super().check_input(x)
        _check_streams(self, x)

    def applied_kernel(self, kernel: jax.Array) -> jax.Array:
        return kernel + _shortcut_kernel(self, kernel, self.stride)


class GeneralizedDense(nn.Module):
    """The generalized residual layer for fully connected networks, before sigma.

    ``[..., in]`` to ``[..., features]``, both of them two streams ``[r; t]``.

    Attributes:
      features: outputs, both streams together.
      use_bias: whether a bias is added.
      shortcut: as in `GeneralizedConv`.
      dtype, param_dtype, kernel_init: as in `Conv`.

    Raises:
      ValueError, TypeError: as `GeneralizedConv`.

    >>> layer = GeneralizedDense(6)
    >>> layer.init_with_output(jax.random.key(0), jnp.ones((2, 4)))[0].shape
    (2, 6)
    """

    features: int
    use_bias: bool = True
    shortcut: str = "zero_pad"
    dtype: Any = jnp.float32
    param_dtype: Any = jnp.float32
    kernel_init: Any = msr

    def __post_init__(self):
        _check_generalized(self)
        super().__post_init__()

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        _check_input(self, x, "[..., in]", x.ndim >= 1)
        _check_streams(self, x)
        shape = (x.shape[-1], self.features)
        kernel = self.param("kernel", self.kernel_init, shape, self.param_dtype)
        kernel = kernel + _shortcut_kernel(self, kernel)
        y = x.astype(self.dtype) @ kernel.astype(self.dtype)
        if self.use_bias:
            bias = self.param("bias", nn.initializers.zeros, (self.features,), self.param_dtype)
            y = y + bias.astype(self.dtype)
        return y


def _shortcut_kernel(layer, kernel, stride=1):
    """The residual stream's shortcut, as a kernel to add to the stored one."""
    width_in, width_out = (streams.stream_width(size) for size in kernel.shape[-2:])
    if layer.shortcut == "zero_pad" or (width_in == width_out and stride == 1):
        return streams.shortcut_kernel(kernel)
    shape = (width_in, width_out)
    projection = layer.param("projection", layer.kernel_init, shape, layer.param_dtype)
    return streams.shortcut_kernel(kernel, projection)


def _check_generalized(layer):
    if layer.shortcut not in SHORTCUTS:
        allowed = ", ".join(map(repr, SHORTCUTS))
        raise ValueError(f"shortcut is {layer.shortcut!r}; allowed: {allowed}")
    try:
        streams.stream_width(layer.features)
    except (TypeError, ValueError):
        raise ValueError(
            f"features is {layer.features!r}; allowed: an even number of 2 or more, for a residual "
            "and a transient stream of equal width"
        ) from None


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
