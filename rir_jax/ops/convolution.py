"""The one convolution of this package: NHWC images, HWIO kernels, explicit padding.

On GPU and TPU it is XLA's own, and so are its gradients. On CPU, XLA lowers the gradients of a
convolution to forms that its fast path does not take, and inside a loop to a naive one that is
tens of times slower. There, the same gradients are written as ordinary convolutions, and the kernel
gradient at stride 1 as a matrix product. It is computed a few images at a time, so that what is
being summed stays in the cache. Where there are many channels, a convolution and its gradients are
computed with fewer multiplications (`rir_jax.ops.winograd`).
"""

import math
from functools import partial

import jax
import jax.numpy as jnp
from jax import lax

from rir_jax.ops import winograd

_DIMENSIONS = ("NHWC", "HWIO", "NHWC")
_MANY_CHANNELS = 64  # from here on, Winograd's form of the kernel gradient is the faster one
# Elements of x in a part of the batch, for the kernel gradient as a convolution, and as a product
# of shifted copies, which should stay in a core's own cache.
_PART_ELEMENTS = 2**17
_SHIFTED_ELEMENTS = 2**13


def _pads(kernel_shape):
    # Symmetric, never "SAME": at stride 2 the centre tap then reads x[2 i], as the shortcut does.
    return tuple((size // 2, size // 2) for size in kernel_shape[:2])


def _forward(x, kernel, stride):
    return lax.conv_general_dilated(
        x, kernel, (stride, stride), _pads(kernel.shape), dimension_numbers=_DIMENSIONS
    )


@partial(jax.custom_vjp, nondiff_argnums=(2,))
def convolve(x: jax.Array, kernel: jax.Array, stride: int = 1) -> jax.Array:
    """Convolves images with a kernel of odd size, padded by half of it on every side.

    Args:
      x: ``[N, H, W, C]``, a floating type.
      kernel: ``[h, w, C, D]`` of the same type, ``h`` and ``w`` odd.
      stride: of both spatial axes.

    Returns:
      ``[N, ceil(H / stride), ceil(W / stride), D]``. Differentiable in ``x`` and ``kernel`` in
      reverse mode, any number of times (forward mode over it too).

    >>> convolve(jnp.ones((1, 4, 4, 1)), jnp.ones((3, 3, 1, 1)), 2)[0, :, :, 0].tolist()
    [[4.0, 6.0], [6.0, 9.0]]
    """
    return _convolve(x, kernel, stride)


def _convolve(x, kernel, stride):
    plain = partial(_forward, stride=stride)
    if not winograd.applies(x.shape, kernel.shape, stride, x.dtype):
        return plain(x, kernel)
    return lax.platform_dependent(x, kernel, cpu=winograd.convolve, default=plain)


def _convolve_forward(x, kernel, stride):
    return _convolve(x, kernel, stride), (x, kernel)


def _convolve_backward(stride, saved, dy):
    x, kernel = saved
    return lax.platform_dependent(
        x,
        kernel,
        dy,
        cpu=lambda x, kernel, dy: (
            input_gradient(kernel, dy, x.shape, stride),
            kernel_gradient(x, dy, kernel.shape, stride),
        ),
        default=lambda x, kernel, dy: jax.vjp(partial(_forward, stride=stride), x, kernel)[1](dy),
    )


convolve.defvjp(_convolve_forward, _convolve_backward)


def input_gradient(kernel, dy, x_shape, stride):
    """Gradient for ``x``: dy, spread out by the stride, convolved with the flipped kernel."""
    flipped = kernel[::-1, ::-1].transpose(0, 1, 3, 2)
    if winograd.applies(dy.shape, flipped.shape, stride, dy.dtype):
        return winograd.convolve(dy, flipped)
    pads = [(0, 0, 0)]
    for axis, (low, _) in enumerate(_pads(kernel.shape)):
        size, window, steps = x_shape[1 + axis], kernel.shape[axis], dy.shape[1 + axis]
        before = window - 1 - low
        spread = (steps - 1) * stride + 1
        pads.append((before, size + window - 1 - before - spread, stride - 1))
    spread_dy = lax.pad(dy, jnp.zeros((), dy.dtype), [*pads, (0, 0, 0)])
    return lax.conv_general_dilated(
        spread_dy, flipped, (1, 1), "VALID", dimension_numbers=_DIMENSIONS
    )


def kernel_gradient(x, dy, kernel_shape, stride):
    """Gradient for the kernel, summed over parts of the batch."""
    if min(kernel_shape[2:]) >= _MANY_CHANNELS and winograd.applies(
        x.shape, kernel_shape, stride, x.dtype
    ):
        return winograd.kernel_gradient(x, dy)
    if kernel_shape[:2] == (1, 1):
        return jnp.einsum("nhwc,nhwd->cd", x[:, ::stride, ::stride], dy)[None, None]
    if stride == 1:
        of_part, elements = _product_of_shifted, _SHIFTED_ELEMENTS
    else:
        of_part, elements = partial(_kernel_gradient_of_part, stride=stride), _PART_ELEMENTS
    parts = _parts(x.shape, kernel_shape, elements)

    def add_part(total, part):
        return total + of_part(*part, kernel_shape), None

    if parts == 1:
        return of_part(x, dy, kernel_shape)
    by_part = [a.reshape(parts, a.shape[0] // parts, *a.shape[1:]) for a in (x, dy)]
    return lax.scan(add_part, jnp.zeros(kernel_shape, x.dtype), by_part)[0]


def _product_of_shifted(x, dy, kernel_shape):
    """One matrix product for all taps: x shifted by rows, times dy shifted by columns.

    Tap ``(i, j)`` sums ``x[h + i, w] dy[h, w - j]`` over pixels, so each array is copied for the
    shifts of one axis alone.
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


def _kernel_gradient_of_part(x, dy, kernel_shape, stride):
    # Channels take the place of the batch, images that of the channels, dy that of the kernel.
    pads = []
    for axis, (low, _) in enumerate(_pads(kernel_shape)):
        reach = (dy.shape[1 + axis] - 1) * stride + kernel_shape[axis]
        pads.append((low, reach - low - x.shape[1 + axis]))
    gradient = lax.conv_general_dilated(
        x.transpose(3, 1, 2, 0),
        dy.transpose(1, 2, 0, 3),
        (1, 1),
        pads,
        rhs_dilation=(stride, stride),
        dimension_numbers=_DIMENSIONS,
    )
    return gradient.transpose(1, 2, 0, 3)


def _parts(x_shape, kernel_shape, elements):
    """Into how many equal parts to split the batch (measured on 1, 2 and more cores).

    A part of x has at least ``elements``, if not a single image, and no fewer than the kernel,
    which every part reads and writes once more.
    """
    batch, height, width, channels = x_shape
    elements = max(elements, math.prod(kernel_shape))
    parts = max(1, batch // max(1, elements // (height * width * channels)))
    while batch % parts:
        parts -= 1
    return parts
