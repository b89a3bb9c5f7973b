"""3x3 convolutions with 16 multiplications in place of 36, for CPUs.

This is Winograd's F(2x2, 3x3), as Lavin and Gray (2016) describe it: an output of 2x2 pixels needs
an input tile of 4x4. Additions transform tiles and kernel. Multiplying the transforms point by
point, and summing over channels, is a matrix product for each of the 16 points. More additions give
the output. This takes 2.25 times fewer multiplications, but reads and writes transforms that are
four times as large as the input. So it pays where there are many channels, and where the parts of
the batch are small enough for their transforms to stay in the cache.

Rounding errors are about twice those of the direct sum.
"""

import jax
import jax.numpy as jnp
from jax import lax

from rir_jax.ops import parts

_PART_ELEMENTS = 3 * 2**18  # the most elements of x in a part of the batch (measured)


def applies(x_shape, kernel_shape, stride: int, dtype) -> bool:
    """Whether this form can compute a convolution, and is likely to be faster (measured)."""
    batch, height, width, channels = x_shape
    if not all(isinstance(size, int) for size in x_shape):  # exported for batches of any size
        return False
    even = height % 2 == width % 2 == 0
    tiles = batch * height * width // 4
    return (
        kernel_shape[:2] == (3, 3)
        and stride == 1
        and even
        and tiles >= 512
        and min(channels, kernel_shape[3]) >= 32
        and dtype in (jnp.float32, jnp.float64)
    )


def convolve(x: jax.Array, kernel: jax.Array) -> jax.Array:
    """Convolves ``[N, H, W, C]``, padded by one, with ``[3, 3, C, D]`` to ``[N, H, W, D]``."""
    points = _kernel_points(kernel)
    count = parts.of_at_most(_PART_ELEMENTS, x.shape)
    if count == 1:
        return _convolve_part(x, points)
    by_part = lax.map(lambda part: _convolve_part(part, points), parts.split(x, count))
    return by_part.reshape(*x.shape[:3], -1)


def kernel_gradient(x: jax.Array, dy: jax.Array) -> jax.Array:
    """The gradient for the kernel: ``[N, H, W, C]`` and ``[N, H, W, D]`` to ``[3, 3, C, D]``."""
    count = parts.of_at_most(_PART_ELEMENTS, x.shape)
    return _gradient_of_points(parts.sum_over_parts(_products, count, x, dy))


def _convolve_part(x, points):
    tiles = _input_points(x)
    products = [
        [jnp.dot(_rows(tile), point) for tile, point in zip(*pair, strict=True)]
        for pair in zip(tiles, points, strict=True)
    ]
    (a, b), (c, d) = _both_axes(products, _to_output)
    batch, height, width, _ = x.shape
    quarter = (batch, height // 2, width // 2, -1)
    pixels = [[pixel.reshape(quarter) for pixel in row] for row in ((a, b), (c, d))]
    rows = [jnp.stack(row, axis=3) for row in pixels]
    return jnp.stack(rows, axis=2).reshape(batch, height, width, -1)


def _products(x, dy):
    tiles, gradients = _input_points(x), _output_gradient_points(dy)
    return [
        [jnp.dot(_rows(a).T, _rows(b)) for a, b in zip(*pair, strict=True)]
        for pair in zip(tiles, gradients, strict=True)
    ]


def _rows(tile):
    return tile.reshape(-1, tile.shape[-1])


def _input_points(x):
    """The 16 points of the transform of all 4x4 tiles, which lie two pixels apart."""
    batch, height, width, channels = x.shape
    padded = jnp.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))

    def pixel(i, j):
        stop = (batch, i + height - 1, j + width - 1, channels)
        return lax.slice(padded, (0, i, j, 0), stop, (1, 2, 2, 1))

    return _both_axes([[pixel(i, j) for j in range(4)] for i in range(4)], _to_points)


def _output_gradient_points(dy):
    pixels = [[dy[:, i::2, j::2] for j in range(2)] for i in range(2)]
    return _both_axes(pixels, lambda p: [p[0], p[0] + p[1], p[0] - p[1], -p[1]])


def _kernel_points(kernel):
    return _both_axes(kernel, _kernel_to_points)


def _gradient_of_points(points):
    taps = _both_axes(points, _points_to_kernel)
    return jnp.stack([jnp.stack(row) for row in taps])


def _both_axes(grid, transform):
    """Applies a transform of lists to each row of a grid of arrays, then to each column."""
    rows = [transform(row) for row in grid]
    columns = [transform(column) for column in zip(*rows, strict=True)]
    return [list(row) for row in zip(*columns, strict=True)]


# The transforms of one axis: B^T, A^T, G and G^T of F(2, 3).


def _to_points(p):
    return [p[0] - p[2], p[1] + p[2], p[2] - p[1], p[1] - p[3]]


def _to_output(m):
    return [m[0] + m[1] + m[2], m[1] - m[2] - m[3]]


def _kernel_to_points(k):
    outer, inner = (k[0] + k[2]) / 2, k[1] / 2
    return [k[0], outer + inner, outer - inner, k[2]]


def _points_to_kernel(m):
    total, difference = (m[1] + m[2]) / 2, (m[1] - m[2]) / 2
    return [m[0] + total, difference, total + m[3]]
