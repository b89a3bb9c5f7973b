"""The one convolution of this package: NHWC images, HWIO kernels, explicit padding.

On GPU and TPU the convolution and its gradients are XLA's own. On CPU, XLA lowers the gradients of
a convolution to forms that its fast path does not take, and inside a loop to a naive form that is
tens of times slower. On CPU the same gradients are therefore written as ordinary convolutions, and
the kernel gradient at stride 1 as a matrix product, a few images at a time, so that its summands
stay in the cache. With many channels, a convolution and its gradients are computed with fewer
multiplications (`rir_jax.ops.winograd`).

The convolution and its two gradients are linear in each of their two arrays, and the derivatives of
each are the other two. So these three primitives have derivatives of any order and mode.
"""

import math
from functools import partial

import jax
import jax.numpy as jnp
from jax import lax

from rir_jax.ops import parts, winograd
from rir_jax.ops.bilinear import bilinear, define_derivatives, varying_alike

_DIMENSIONS = ("NHWC", "HWIO", "NHWC")
_MANY_CHANNELS = 64  # from here on, Winograd's form of the kernel gradient is the faster one
# The least elements of x in a part of the batch, measured on 1, 2 and more cores: for the kernel
# gradient as a convolution, and as a product of shifted copies, which fit a core's own cache.
_PART_ELEMENTS = 2**17
_SHIFTED_ELEMENTS = 2**13


def _pads(kernel_shape):
    # Symmetric, never "SAME": at stride 2 the centre tap then reads x[2 i], as the shortcut does.
    return tuple((size // 2, size // 2) for size in kernel_shape[:2])


def convolve(x: jax.Array, kernel: jax.Array, stride: int = 1) -> jax.Array:
    """Convolves images, padded by half of the kernel on every side, with a kernel of odd size.

    Args:
      x: images ``[N, H, W, C]`` of a floating type.
      kernel: kernel ``[h, w, C, D]`` of the same type, ``h`` and ``w`` odd.
      stride: step along both spatial axes.

    Returns:
      ``[N, ceil(H / stride), ceil(W / stride), D]``. Differentiable in ``x`` and ``kernel``, in
      reverse and forward mode, any number of times.

    Examples:
      >>> convolve(jnp.ones((1, 4, 4, 1)), jnp.ones((3, 3, 1, 1)), 2)[0, :, :, 0].tolist()
      [[4.0, 6.0], [6.0, 9.0]]
    """
    return _convolve.bind(*varying_alike(x, kernel), stride=stride)


def _forward(x, kernel, stride):
    return lax.conv_general_dilated(
        x, kernel, (stride, stride), _pads(kernel.shape), dimension_numbers=_DIMENSIONS
    )


def _forward_on_cpu(x, kernel, stride):
    if winograd.applies(x.shape, kernel.shape, stride, x.dtype):
        return winograd.convolve(x, kernel)
    return _forward(x, kernel, stride)


def _plain_input_gradient(kernel, dy, stride, size):
    return lax.conv_general_dilated(
        dy,
        lax.rev(kernel, (0, 1)),
        (1, 1),
        _pads_of_input_gradient(kernel.shape, dy.shape, stride, size),
        lhs_dilation=(stride, stride),
        dimension_numbers=("NHWC", "HWOI", "NHWC"),
    )


def _pads_of_input_gradient(kernel_shape, dy_shape, stride, size):
    pads = []
    for axis, (low, _) in enumerate(_pads(kernel_shape)):
        window, steps = kernel_shape[axis], dy_shape[1 + axis]
        before = window - 1 - low
        spread = (steps - 1) * stride + 1
        pads.append((before, size[axis] + window - 1 - before - spread))
    return pads


def _plain_kernel_gradient(x, dy, stride, size):
    return lax.conv_general_dilated(
        x,
        dy,
        (1, 1),
        _pads_of_kernel_gradient(x.shape, dy.shape, stride, size),
        rhs_dilation=(stride, stride),
        dimension_numbers=("CHWN", "IHWO", "HWNC"),
    )


def _pads_of_kernel_gradient(x_shape, dy_shape, stride, size):
    pads = []
    for axis, (low, _) in enumerate(_pads(size)):
        reach = (dy_shape[1 + axis] - 1) * stride + size[axis]
        pads.append((low, reach - low - x_shape[1 + axis]))
    return pads


def _input_gradient_on_cpu(kernel, dy, stride, size):
    """The gradient for ``x``: dy, spread out by the stride, convolved with the flipped kernel."""
    flipped = kernel[::-1, ::-1].transpose(0, 1, 3, 2)
    if winograd.applies(dy.shape, flipped.shape, stride, dy.dtype):
        return winograd.convolve(dy, flipped)
    pads = _pads_of_input_gradient(kernel.shape, dy.shape, stride, size)
    spread = [(0, 0, 0), *((*pad, stride - 1) for pad in pads), (0, 0, 0)]
    spread_dy = lax.pad(dy, jnp.zeros((), dy.dtype), spread)
    return lax.conv_general_dilated(
        spread_dy, flipped, (1, 1), "VALID", dimension_numbers=_DIMENSIONS
    )


def _kernel_gradient_on_cpu(x, dy, stride, size):
    """The gradient for the kernel, summed over parts of the batch."""
    kernel_shape = (*size, x.shape[3], dy.shape[3])
    if min(kernel_shape[2:]) >= _MANY_CHANNELS and winograd.applies(
        x.shape, kernel_shape, stride, x.dtype
    ):
        return winograd.kernel_gradient(x, dy)
    if kernel_shape[:2] == (1, 1):
        return jnp.einsum("nhwc,nhwd->cd", x[:, ::stride, ::stride], dy)[None, None]
    if stride == 1:
        of_part, elements = partial(_product_of_shifted, kernel_shape), _SHIFTED_ELEMENTS
    else:
        of_part, elements = partial(_transposed, kernel_shape, stride), _PART_ELEMENTS
    # Each part reads and writes the kernel once more, so it is no smaller than that.
    count = parts.of_at_least(max(elements, math.prod(kernel_shape)), x.shape)
    return parts.sum_over_parts(of_part, count, x, dy)


def _product_of_shifted(kernel_shape, x, dy):
    """The kernel gradient as one matrix product: x shifted by rows, times dy shifted by columns.

    Tap ``(i, j)`` sums ``x[h + i, w] dy[h, w - j]`` over pixels, so each array is copied for the
    shifts along one axis only.
    """
    height, width, channels, features = kernel_shape
    rows, columns = _pads(kernel_shape)
    x = jnp.pad(x, ((0, 0), rows, columns, (0, 0)))
    dy = jnp.pad(dy, ((0, 0), (0, 0), (width - 1, width - 1), (0, 0)))
    by_row = [lax.slice_in_dim(x, i, i + dy.shape[1], axis=1) for i in range(height)]
    by_column = [
        lax.slice_in_dim(dy, width - 1 - j, width - 1 - j + x.shape[2], axis=2)
        for j in range(width)
    ]
    taps = lax.dot_general(
        jnp.concatenate(by_row, axis=3),
        jnp.concatenate(by_column, axis=3),
        (((0, 1, 2), (0, 1, 2)), ((), ())),
    )
    return taps.reshape(height, channels, width, features).transpose(0, 2, 1, 3)


def _transposed(kernel_shape, stride, x, dy):
    """The kernel gradient as a convolution: channels are the batch, images the channels."""
    gradient = lax.conv_general_dilated(
        x.transpose(3, 1, 2, 0),
        dy.transpose(1, 2, 0, 3),
        (1, 1),
        _pads_of_kernel_gradient(x.shape, dy.shape, stride, kernel_shape[:2]),
        rhs_dilation=(stride, stride),
        dimension_numbers=_DIMENSIONS,
    )
    return gradient.transpose(1, 2, 0, 3)


# From x and a kernel; from a kernel and dy, with the size of x; from x and dy, with the kernel's.
_convolve = bilinear("convolve", _forward, _forward_on_cpu, ["stride"], images=0)
_input_gradient = bilinear(
    "convolve_input_gradient",
    _plain_input_gradient,
    _input_gradient_on_cpu,
    ["stride", "size"],
    images=1,
)
_kernel_gradient = bilinear(
    "convolve_kernel_gradient",
    _plain_kernel_gradient,
    _kernel_gradient_on_cpu,
    ["stride", "size"],
    images=None,
)


def _for_x(kernel, dy, x_shape, stride):
    return _input_gradient.bind(*varying_alike(kernel, dy), stride=stride, size=x_shape[1:3])


def _for_kernel(x, dy, kernel_shape, stride):
    return _kernel_gradient.bind(*varying_alike(x, dy), stride=stride, size=kernel_shape[:2])


define_derivatives(
    _convolve,
    lambda dy, x_shape, kernel, stride: _for_x(kernel, dy, x_shape, stride),
    lambda dy, x, kernel_shape, stride: _for_kernel(x, dy, kernel_shape, stride),
)
define_derivatives(
    _input_gradient,
    lambda x, kernel_shape, dy, stride, size: _for_kernel(x, dy, kernel_shape, stride),
    lambda x, kernel, dy_shape, stride, size: convolve(x, kernel, stride),
)
define_derivatives(
    _kernel_gradient,
    lambda kernel, x_shape, dy, stride, size: _for_x(kernel, dy, x_shape, stride),
    lambda kernel, x, dy_shape, stride, size: convolve(x, kernel, stride),
)
