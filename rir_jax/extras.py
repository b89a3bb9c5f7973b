"""Optional packages, and the extra of this package that installs each."""

import importlib.util

from rir_jax.errors import InputError

_EXTRAS = {
    "array_record": "train",
    "importlib_resources": "train",
    "matplotlib": "train",
    "sklearn": "train",
    "tensorboardX": "train",
    "tensorflow_datasets": "train",
    "tqdm": "train",
    "tensorflow": "prepare",
    "gcsfs": "gcs",
    "aiohttp": "gcs",
    "onnx": "onnx",
    "onnxruntime": "onnx",
}


def require(what: str, *packages: str) -> None:
    """Checks that packages are installed.

    Args:
      what: the use that needs them, for the message.
      *packages: the names that they are imported by.

    Raises:
      InputError: a package is missing; the message has the command that installs it.

    Examples:
      >>> require("reading arrays", "numpy")
    """
    for package in packages:
        if importlib.util.find_spec(package) is None:
            raise InputError(
                f"{what} needs the package {package}: pip install 'rir_jax[{_EXTRAS[package]}]'"
            )
