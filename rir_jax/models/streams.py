"""The residual and the transient stream, side by side in one array.

A generalized residual block (paper, Eq. 1 and 2) has two states of equal width.
Here they are the two halves of the channel axis, ``[r; t]``: the residual stream
``r`` first, the transient stream ``t`` after it. One ordinary convolution over the
concatenation computes all four filter groups at once, because its kernel is the
block matrix ``[[W_rr, W_rt], [W_tr, W_tt]]`` (inputs down, outputs across), and the
identity shortcut of the residual stream is a *partial identity* added to that kernel.
"""

import jax
import jax.numpy as jnp


def stream_width(channels: int) -> int:
    """Width of one stream in an array of ``channels`` channels.

    Raises:
      ValueError: ``channels`` is odd or less than 2, so it has no two equal halves.

    Examples:
      >>> stream_width(96)
      48
    """
    if channels < 2 or channels % 2:
        raise ValueError(
            f"{channels} channels cannot be split into a residual and a transient stream of "
            "equal width: use an even number, 2 or more"
        )
    return channels // 2


def split(x: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Splits ``[..., 2 w]`` into the residual and the transient stream, each ``[..., w]``."""
    width = stream_width(x.shape[-1])
    return x[..., :width], x[..., width:]


def half(stream: str, width: int) -> slice:
    """The channels of stream "r" or "t", where one stream has ``width`` channels."""
    return slice(0, width) if stream == "r" else slice(width, 2 * width)


def join(residual: jax.Array, transient: jax.Array) -> jax.Array:
    """Joins two streams ``[..., w]`` into the array ``[r; t]``, ``[..., 2 w]``."""
    return jnp.concatenate([residual, transient], axis=-1)


def at_centre(matrix: jax.Array, kernel_shape: tuple[int, ...]) -> jax.Array:
    """A kernel with ``matrix`` ``[rows, columns]`` at its spatial centre, and zeros elsewhere.

    The matrix connects the first inputs with the first outputs, those of the residual stream.
    ``kernel_shape`` is ``(*spatial, in, out)``, without spatial axes for a dense layer.

    Raises:
      ValueError: a spatial size is even, so there is no centre, or the matrix does not fit.
    """
    *spatial, features_in, features_out = kernel_shape
    if any(size % 2 == 0 for size in spatial):
        raise ValueError(f"a kernel of spatial shape {tuple(spatial)} has no centre: use odd sizes")
    rows, columns = matrix.shape
    if rows > features_in or columns > features_out:
        raise ValueError(f"a matrix {matrix.shape} does not fit into a kernel {kernel_shape}")
    before_after = [(size // 2, size // 2) for size in spatial]
    before_after += [(0, features_in - rows), (0, features_out - columns)]
    return jnp.pad(matrix.reshape((1,) * len(spatial) + matrix.shape), before_after)


def partial_identity(kernel_shape: tuple[int, ...], dtype=jnp.float32) -> jax.Array:
    """The residual stream's shortcut as a kernel: ResNet Init's partial identity.

    It has ones at the spatial centre from residual channel ``i`` to residual channel ``i``, and
    zeros elsewhere. Where the streams widen, the new residual channels get only zeros: that is the
    zero-padded identity shortcut. At stride 2 the centre tap picks every other pixel.

    Args:
      kernel_shape: ``(*spatial, in, out)``; both ``in`` and ``out`` count two streams.
      dtype: type of the kernel.

    Raises:
      ValueError: ``in`` or ``out`` is odd, the streams get narrower, or the kernel has no centre.

    Examples:
      >>> partial_identity((4, 6)).tolist()[0]
      [1.0, 0.0, 0.0, 0.0, 0.0, 0.0]
    """
    width_in, width_out = stream_width(kernel_shape[-2]), stream_width(kernel_shape[-1])
    if width_in > width_out:
        raise ValueError(
            f"a zero-padded shortcut cannot go from {width_in} to {width_out} residual channels: "
            "streams may widen but not narrow (or use shortcut='projection')"
        )
    return at_centre(jnp.eye(width_in, width_out, dtype=dtype), kernel_shape)


def shortcut_kernel(kernel: jax.Array, projection: jax.Array | None = None) -> jax.Array:
    """The shortcut of a generalized layer, as a kernel to add to its stored kernel ``W``.

    Args:
      kernel: stored kernel W, ``[*spatial, in, out]``.
      projection: matrix ``[in / 2, out / 2]`` of a projection shortcut; None: the partial identity.

    Raises:
      ValueError: as `partial_identity` or `at_centre`.
    """
    if projection is None:
        return partial_identity(kernel.shape, kernel.dtype)
    return at_centre(projection, kernel.shape)


def padded_shortcut(
    x: jax.Array, features: int, stride: int = 1, channels: int | None = None
) -> jax.Array:
    """The parameter-free shortcut: subsample by ``stride``, then add zero channels.

    Args:
      x: images ``[N, H, W, C]``.
      features: number of channels of the result.
      stride: step along both spatial axes.
      channels: number of channels to take, the first ones; None: all.

    Returns:
      ``[N, ceil(H / stride), ceil(W / stride), features]``.

    Raises:
      ValueError: ``channels`` is more than ``features``.
    """
    channels = x.shape[-1] if channels is None else channels
    if channels > features:
        raise ValueError(f"a zero-padded shortcut cannot go from {channels} to {features} channels")
    # One slice for channels and stride, so that no array is written between them.
    kept = jax.lax.slice(x, (0,) * 4, (*x.shape[:3], channels), (1, stride, stride, 1))
    return jnp.pad(kept, ((0, 0), (0, 0), (0, 0), (0, features - channels)))
