"""Images to arrays: the one decoder of files and of data sets, and what networks take.

Files come from strangers, so there are bounds on what they may ask of this machine.
"""

import io
import os
import warnings
from typing import Any

import numpy as np

from rir_jax import files
from rir_jax.errors import InputError

FORMATS = ("PNG", "JPEG", "WEBP")
CHANNELS = (1, 3)
"""Of the images that networks take: grey, or RGB."""
MAX_PIXELS = 2**24
"""Of an image, before it is scaled: 16.8 million, 50 MB decoded. Checked before decoding."""
MAX_BYTES = 2**28
"""Of a file: more than `MAX_PIXELS` of 16 bits and four channels take without compression."""


def read_image(path: os.PathLike | str) -> np.ndarray:
    """Reads an image file as uint8 ``[H, W, 3]``, in RGB; see `decode_image`.

    Raises:
      InputError: no such file, or as `decode_image`.

    >>> import tempfile; from PIL import Image
    >>> with tempfile.NamedTemporaryFile(suffix=".png") as file:
    ...     Image.new("L", (3, 2), 255).save(file.name)
    ...     read_image(file.name).shape
    (2, 3, 3)
    """
    content = bytearray()
    try:
        with files.path(path).open("rb") as file:
            while len(content) <= MAX_BYTES and (part := file.read(2**20)):
                content += part
    except FileNotFoundError:
        raise InputError(f"image {path} does not exist") from None
    except Exception as error:  # no right to, a folder, no name for a file, no such store
        raise InputError(f"image {path} cannot be read: {error}") from None
    return decode_image(bytes(content), f"image {path}")


def decode_image(content: bytes, name: str, channels: int = 3) -> np.ndarray:
    """Decodes the content of an image file, whatever its mode and depth.

    The image stands upright, as its camera noted. What is transparent is black, palettes are
    looked up, 16 bits become 8, and grey and RGB become each other as `convert` does it.

    Only the decoders of `FORMATS` are tried, and only after the header has told a size of at
    most `MAX_PIXELS`.

    Args:
      content: of the file.
      name: of the image, for messages: "image digit.png".
      channels: 1 for grey or 3 for RGB.

    Returns:
      uint8 ``[H, W, channels]``.

    Raises:
      InputError: no image of these formats, too large, or damaged.
    """
    from PIL import Image, UnidentifiedImageError

    if len(content) > MAX_BYTES:
        raise InputError(f"{name} has more bytes than allowed: up to {MAX_BYTES:,}")
    try:
        # Pillow's own bound is much higher, and a mere warning at first; ours comes before it.
        with warnings.catch_warnings(action="ignore", category=Image.DecompressionBombWarning):
            image = Image.open(io.BytesIO(content), formats=FORMATS)
        with image:
            width, height = image.size
            if width * height > MAX_PIXELS:
                raise InputError(
                    f"{name} is {width} x {height}; allowed: up to {MAX_PIXELS:,} pixels"
                )
            return convert(_rgb(image), channels)
    except InputError:
        raise
    except UnidentifiedImageError:
        raise InputError(f"{name} is no image; allowed: {', '.join(FORMATS)}") from None
    except Exception as error:  # whatever a damaged file makes its decoder raise
        raise InputError(f"{name} cannot be read: {' '.join(str(error).split())}") from None


def _rgb(image):
    from PIL import Image, ImageOps

    image = ImageOps.exif_transpose(image)
    if image.mode.startswith("I"):  # 16 bits of grey, which Pillow would clip to 8, not scale
        grey = (np.asarray(image, np.uint32) >> 8).astype(np.uint8)
        return np.repeat(grey[..., None], 3, axis=-1)
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, (0, 0, 0, 255)), image)
    return np.asarray(image.convert("RGB"))


def convert(image: np.ndarray, channels: int) -> np.ndarray:
    """RGB, uint8 ``[H, W, 3]``, to uint8 ``[H, W, channels]``, of which 1 is grey (ITU-R 601).

    Raises:
      InputError: another number of channels.
    """
    from PIL import Image

    check_channels(channels, "the network")
    return image if channels == 3 else np.asarray(Image.fromarray(image).convert("L"))[..., None]


def check_channels(channels: int, owner: str) -> None:
    """Checks that images have a number of channels that image files can be brought to.

    Raises:
      InputError: naming the owner of the images.
    """
    if channels not in CHANNELS:
        raise InputError(f"{owner} has images of {channels} channels; allowed: 1 (grey) or 3 (RGB)")


def as_images(images: Any, image_shape: tuple[int, ...]) -> Any:
    """Images as a network takes them, as an array, which may be traced; nothing is converted.

    Args:
      images: an array of NumPy or JAX, or a list of them.
      image_shape: ``(H, W, C)``.

    Raises:
      InputError: their type is not uint8, or their shape not ``[N, H, W, C]``.

    >>> as_images(np.zeros((2, 8, 8)), (8, 8, 1))
    Traceback (most recent call last):
    rir_jax.errors.InputError: images are float64 [2, 8, 8]; allowed: uint8 [N, 8, 8, 1], 0 to 255
    """
    if not hasattr(images, "dtype"):
        try:
            images = np.asarray(images)
        except ValueError as error:  # of several shapes
            raise InputError(f"images are no array: {error}") from None
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[1:] != tuple(image_shape):
        raise InputError(
            f"images are {images.dtype} [{', '.join(map(str, images.shape))}]; allowed: uint8 "
            f"[N, {', '.join(map(str, image_shape))}], 0 to 255"
        )
    return images
