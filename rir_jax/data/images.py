"""Images to arrays: the decoder of files and of data sets, and the images that networks take.

Files come from strangers, so their sizes are bounded.
"""

import contextlib
import io
import math
import os
import threading
import warnings
from typing import Any

import numpy as np

from rir_jax import files
from rir_jax.errors import InputError

FORMATS = ("PNG", "JPEG", "WEBP")
CHANNELS = (1, 3)
"""The numbers of channels that networks take: grey, or RGB."""
MAX_PIXELS = 2**25
"""The most pixels of a decoded image, 33.6 million (134 MB), checked before decoding."""
MAX_JPEG_PIXELS = 2**27
"""The most pixels of a JPEG photo that is decoded at a fraction of its size: 134 million."""
MAX_BYTES = 2**28
"""The most bytes of a file, as many as `MAX_PIXELS` of 16 bits and four channels take."""
_ALONE = 2**24  # images of more pixels are decoded one at a time, under the lock below
_ENOUGH = 3  # a JPEG photo is decoded at this many times the network's size or more
_large = threading.Lock()


def read_image(path: os.PathLike | str) -> np.ndarray:
    """Reads an image file as uint8 ``[H, W, 3]``, in RGB; see `decode_image`.

    Raises:
      InputError: the file cannot be read, or as `decode_image`.

    Examples:
      >>> import tempfile; from PIL import Image
      >>> with tempfile.NamedTemporaryFile(suffix=".png") as file:
      ...     Image.new("L", (3, 2), 255).save(file.name)
      ...     read_image(file.name).shape
      (2, 3, 3)
    """
    return decode_image(_content(path), f"image {path}")


def read_fitted(
    path: os.PathLike | str, image_shape: tuple[int, int, int]
) -> tuple[np.ndarray, str]:
    """Reads an image file of any size as an image for a network; see `fit_image`.

    A JPEG photo much larger than the network's images is decoded at a half, a quarter or an eighth
    of its size, at least three times theirs, which is faster and takes little memory.

    Args:
      path: path of a PNG, JPEG or WebP file.
      image_shape: shape ``(H, W, C)`` of the network's images.

    Returns:
      uint8 ``[H, W, C]``, and the changes made, in words; "" if none.

    Raises:
      InputError: as `read_image` or `fit_image`.
    """
    enough = _ENOUGH * max(image_shape[:2])
    with _decoded(_content(path), f"image {path}", enough) as (picture, size):
        return _fit(picture, size, image_shape)


def _content(path):
    """Reads a file, which may be a pipe, up to a little more than is allowed."""
    content = bytearray()
    try:
        with files.path(path).open("rb") as file:
            while len(content) <= MAX_BYTES and (part := file.read(2**20)):
                content += part
    except FileNotFoundError:
        raise InputError(f"image {path} does not exist") from None
    except IsADirectoryError:
        raise InputError(f"image {path} cannot be read: a folder without images") from None
    except Exception as error:  # no permission, no such store, not a file's name, ...
        raise InputError(f"image {path} cannot be read: {error}") from None
    return bytes(content)


def decode_image(content: bytes, name: str, channels: int = 3) -> np.ndarray:
    """Decodes the content of an image file, of any mode and depth.

    The image is turned upright, as its camera noted. Transparent pixels become black, palettes are
    looked up, 16 bits become 8, and RGB becomes grey by ITU-R 601.

    Only the decoders of `FORMATS` are tried, and only if the header tells a size of at most
    `MAX_PIXELS`.

    Args:
      content: content of the file.
      name: name of the image in messages: "image digit.png".
      channels: 1 for grey or 3 for RGB.

    Returns:
      uint8 ``[H, W, channels]``.

    Raises:
      InputError: the content has another format, is too large, or is damaged.
    """
    with _decoded(content, name) as (picture, (width, height)):
        return np.asarray(_in_channels(picture, channels)).reshape(height, width, channels)


@contextlib.contextmanager
def _decoded(content, name, enough=None):
    """An upright picture in RGB, of at least ``enough`` pixels a side, and its size in the file.

    Pillow may decode late, so errors in the body of the ``with`` statement count as damage too.
    """
    from PIL import ExifTags, Image, UnidentifiedImageError

    if len(content) > MAX_BYTES:
        raise InputError(f"{name} has more bytes than allowed: up to {MAX_BYTES:,}")
    try:
        # Pillow's own bound is higher, and at first only a warning.
        with warnings.catch_warnings(action="ignore", category=Image.DecompressionBombWarning):
            image = Image.open(io.BytesIO(content), formats=FORMATS)
        with image:
            size = image.size
            if enough is not None:
                image.draft(None, (enough, enough))  # does nothing to formats other than JPEG
            if math.prod(size) > MAX_JPEG_PIXELS or math.prod(image.size) > MAX_PIXELS:
                raise InputError(
                    f"{name} is {size[0]} x {size[1]}; allowed: up to {MAX_PIXELS:,} pixels, of a "
                    f"JPEG photo {MAX_JPEG_PIXELS:,}"
                )
            with _large if math.prod(size) > _ALONE else contextlib.nullcontext():
                lies = image.getexif().get(ExifTags.Base.Orientation, 1) > 4
                yield _upright_rgb(image), size[::-1] if lies else size
    except InputError:
        raise
    except UnidentifiedImageError:
        raise InputError(f"{name} is not an image; allowed: {', '.join(FORMATS)}") from None
    except Exception as error:  # a damaged file may raise anything
        raise InputError(f"{name} cannot be read: {' '.join(str(error).split())}") from None


def _upright_rgb(image):
    from PIL import Image, ImageOps

    ImageOps.exif_transpose(image, in_place=True)
    if image.mode.startswith("I"):  # 16 bits of grey, which Pillow would clip to 8, not scale
        image = Image.fromarray((np.asarray(image, np.uint32) >> 8).astype(np.uint8))
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, (0, 0, 0, 255)), image)
    return image if image.mode == "RGB" else image.convert("RGB")


def _in_channels(picture, channels):
    """A picture in RGB, or in grey (ITU-R 601)."""
    check_channels(channels, "the network")
    return picture if channels == 3 else picture.convert("L")


def fit_image(image: np.ndarray, image_shape: tuple[int, int, int]) -> tuple[np.ndarray, str]:
    """Fits an image to a network: cuts the middle to the right proportions, then resizes it.

    Args:
      image: RGB image, uint8 ``[height, width, 3]``.
      image_shape: shape ``(H, W, C)`` of the network's images; C is 1 (grey) or 3 (RGB).

    Returns:
      uint8 ``[H, W, C]``, and the changes made, in words; "" if none.

    Raises:
      InputError: the network's images are neither grey nor RGB.

    Examples:
      >>> fitted, changes = fit_image(np.zeros((48, 64, 3), np.uint8), (8, 8, 3))
      >>> fitted.shape, changes
      ((8, 8, 3), 'middle 48x48 of 64x48, resized to 8x8')
    """
    from PIL import Image

    picture = Image.fromarray(image)
    return _fit(picture, picture.size, image_shape)


def _fit(picture, size, image_shape):
    """As `fit_image`; the picture may be a reduced one, from a file of the given ``size``."""
    from PIL import Image

    height, width, channels = image_shape
    cut = _largest(size, (width, height))
    outer, inner = _box(cut, size, picture.size)
    picture = _in_channels(picture, channels).crop(outer)
    if cut != (width, height):
        # Pillow's filters widen with the scale, so that nothing aliases.
        picture = picture.resize((width, height), Image.Resampling.BICUBIC, inner)
    changes = _changes(cut, size, (width, height))
    return np.asarray(picture).reshape(image_shape), changes


def _box(cut, size, reduced):
    """The middle of a picture: the pixels that it touches, and where it lies within those."""
    outer, inner = [], []
    for of_cut, of_size, of_reduced in zip(cut, size, reduced, strict=True):
        fraction, start = round(of_size / of_reduced), (of_size - of_cut) // 2
        ends = start / fraction, (start + of_cut) / fraction
        first, last = math.floor(ends[0]), math.ceil(ends[1])
        outer.append((first, last))
        inner.append((ends[0] - first, ends[1] - first))
    return [(x[0], y[0], x[1], y[1]) for x, y in (outer, inner)]


def _largest(size, proportions):
    """The largest size within ``size`` that has some proportions, at least 1x1."""
    scale = min(size[0] / proportions[0], size[1] / proportions[1])
    return tuple(max(1, round(side * scale)) for side in proportions)


def _changes(cut, size, wanted):
    """The changes that fit a picture, in words."""
    changes = [f"middle {cut[0]}x{cut[1]} of {size[0]}x{size[1]}"] if cut != size else []
    if cut != wanted:
        of = "" if changes else f"{size[0]}x{size[1]} "
        changes.append(f"{of}resized to {wanted[0]}x{wanted[1]}")
    return ", ".join(changes)


def check_channels(channels: int, owner: str) -> None:
    """Checks that images have 1 or 3 channels, as image files can have.

    Raises:
      InputError: they have not; names the owner of the images.
    """
    if channels not in CHANNELS:
        raise InputError(f"{owner} has images of {channels} channels; allowed: 1 (grey) or 3 (RGB)")


def as_images(images: Any, image_shape: tuple[int, ...]) -> Any:
    """Images for a network as one array, which may be traced. Their values are not converted.

    Args:
      images: an array of NumPy or JAX, or a list of images.
      image_shape: shape ``(H, W, C)`` of the network's images.

    Raises:
      InputError: the images are not uint8 ``[N, H, W, C]``.

    Examples:
      >>> as_images(np.zeros((2, 8, 8)), (8, 8, 1))
      Traceback (most recent call last):
      rir_jax.errors.InputError: images are float64 [2, 8, 8]; allowed: uint8 [N, 8, 8, 1], 0 to 255
    """
    if not hasattr(images, "dtype"):
        try:
            images = np.asarray(images)
        except ValueError as error:  # they have several shapes
            raise InputError(f"images are not an array: {error}") from None
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[1:] != tuple(image_shape):
        raise InputError(
            f"images are {images.dtype} [{', '.join(map(str, images.shape))}]; allowed: uint8 "
            f"[N, {', '.join(map(str, image_shape))}], 0 to 255"
        )
    return images
