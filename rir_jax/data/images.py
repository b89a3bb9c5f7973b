"""Image files as arrays."""

import numpy as np
from etils import epath

from rir_jax.errors import InputError

FORMATS = ("PNG", "JPEG", "WEBP")


def read_image(path: epath.PathLike) -> np.ndarray:
    """An image file as uint8 ``[height, width, 3]``: upright, in RGB, transparent parts black.

    Raises:
      InputError: the file is absent, is no PNG, JPEG or WebP image, or is damaged.
    """
    from PIL import Image, ImageOps

    try:
        with epath.Path(path).open("rb") as file, Image.open(file, formats=FORMATS) as image:
            upright = ImageOps.exif_transpose(image)
            if upright.mode.startswith("I"):  # 16 bits, which Pillow would clip
                grey = (np.asarray(upright, np.uint32) >> 8).astype(np.uint8)
                return np.repeat(grey[..., None], 3, axis=-1)
            if upright.has_transparency_data:
                upright = upright.convert("RGBA")
                black = Image.new("RGBA", upright.size, (0, 0, 0, 255))
                upright = Image.alpha_composite(black, upright)
            return np.asarray(upright.convert("RGB"))
    except FileNotFoundError:
        raise InputError(f"image {path} does not exist") from None
    except Exception as error:  # whatever a damaged file makes its decoder raise
        reason = " ".join(str(error).split())[:200]
        raise InputError(
            f"image {path} cannot be read: {reason}; allowed: PNG, JPEG and WebP files"
        ) from None
