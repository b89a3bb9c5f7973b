"""Image files of strangers to arrays, with bounds on what they may ask of this machine."""

import os
import warnings

import numpy as np

from rir_jax.errors import InputError

FORMATS = ("PNG", "JPEG", "WEBP")
MAX_PIXELS = 2**24
"""Of an image, before it is scaled: 16.8 million, 50 MB decoded. Checked before decoding."""


def read_image(path: os.PathLike | str) -> np.ndarray:
    """Reads an image file as uint8 ``[H, W, 3]``, in RGB, whatever its mode.

    It stands upright, as its camera noted, and what is transparent is black.

    Only the decoders of `FORMATS` are tried, and only after the header has told a size of at
    most `MAX_PIXELS`.

    Raises:
      InputError: no such file, no image of these formats, too large, or damaged.

    >>> import tempfile; from PIL import Image
    >>> with tempfile.NamedTemporaryFile(suffix=".png") as file:
    ...     Image.new("L", (3, 2), 255).save(file.name)
    ...     read_image(file.name).shape
    (2, 3, 3)
    """
    from PIL import Image, UnidentifiedImageError

    try:
        # Pillow's own bound is much higher, and a mere warning at first; ours comes before it.
        with warnings.catch_warnings(action="ignore", category=Image.DecompressionBombWarning):
            image = Image.open(path, formats=FORMATS)
        with image:
            width, height = image.size
            if width * height > MAX_PIXELS:
                raise InputError(
                    f"image {path} is {width} x {height}; allowed: up to {MAX_PIXELS:,} pixels"
                )
            return _rgb(image)
    except InputError:
        raise
    except FileNotFoundError:
        raise InputError(f"image {path} does not exist") from None
    except UnidentifiedImageError:
        raise InputError(f"{path} is no image; allowed: {', '.join(FORMATS)}") from None
    except Exception as error:  # whatever a damaged file makes its decoder raise
        raise InputError(f"image {path} cannot be read: {' '.join(str(error).split())}") from None


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
