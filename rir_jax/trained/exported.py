"""A trained network as one file that only JAX is needed to run.

``jax.export`` makes the file from the folded network, its weights and its preprocessing. It holds a
function from uint8 images ``[N, H, W, C]``, any N, to float32 logits ``[N, num_classes]``, lowered
for several platforms at once. Only ``jax`` and ``flatbuffers`` are needed for

    logits = jax.export.deserialize(open("model.jax", "rb").read()).call(images)

A small JSON file beside it, ``model.jax.json``, holds the class names, the shape of the images and
the digest of the file.
"""

import os
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.export
import jax.numpy as jnp
import numpy as np
from etils import epath

from rir_jax import files
from rir_jax.errors import InputError
from rir_jax.models.fold import fold
from rir_jax.models.network import Network
from rir_jax.trained.classifier import Classifier

PLATFORMS = ("cpu", "cuda", "tpu")
_ALIASES = {"gpu": ("cuda", "rocm")}


def export(
    model: Network, variables: Any, info: Any, platforms: Sequence[str] = PLATFORMS
) -> jax.export.Exported:
    """The folded inference function of a network, with its weights and preprocessing inside.

    Args:
      model: the network; the function computes in its dtype.
      variables: "params" and "batch_stats" of the network.
      info: the network's `Info`.
      platforms: platforms to run on, from "cpu", "cuda", "tpu" and "rocm".

    Returns:
      A function from uint8 images ``[N, H, W, C]``, for every N from 0 on, to float32 logits. It
      has the methods `.call` and `.serialize`.

    Raises:
      InputError: a platform is unknown.

    Examples:
      >>> import rir_jax
      >>> model = rir_jax.create_model("rir32", widths=(4,), blocks=(1,), stem_width=4)
      >>> info = rir_jax.Info(list("0123456789"), (8, 8, 1), mean=[80.0], std=[60.0])
      >>> variables = jax.jit(model.init)(jax.random.key(0), jnp.zeros((1, 8, 8, 1)))
      >>> exported = export(model, variables, info)
      >>> exported.call(np.zeros((5, 8, 8, 1), np.uint8)).shape
      (5, 10)
    """
    for platform in platforms:
        if platform not in (*PLATFORMS, "rocm"):
            raise InputError(
                f"platform {platform!r} is unknown; allowed: {', '.join(PLATFORMS)}, rocm"
            )
    plain, folded = fold(model, variables)
    weights = jax.device_get(folded)

    def logits(images):
        return plain.apply(weights, info.preprocess(images))

    # A symbol stands for 1 or more, so N - 1 allows a batch of 0 images.
    (batch_size,) = jax.export.symbolic_shape("N - 1")
    images = jax.ShapeDtypeStruct((batch_size, *info.image_shape), jnp.uint8)
    return jax.export.export(jax.jit(logits), platforms=tuple(platforms))(images)


def write(exported: jax.export.Exported, info: Any, path: epath.PathLike) -> int:
    """Writes an exported function to PATH, and its description to PATH.json.

    PATH may be in a bucket (``gs://``), here and in `read`. Returns the number of bytes in PATH.

    Raises:
      InputError: the files cannot be written there.
    """
    content = bytes(exported.serialize())
    described = {
        "class_names": list(info.class_names),
        "image_shape": list(info.image_shape),
        "platforms": list(exported.platforms),
        "dataset": info.dataset,
        "jax": jax.__version__,
        "sha256": files.digest(content),
    }
    path = files.path(path)
    with files.refused_writes(path):
        files.write(path, content)
        files.write_json(description_path(path), described)
    return len(content)


def read(path: epath.PathLike) -> tuple[jax.export.Exported, dict[str, Any]]:
    """An exported function that runs here, and its description from PATH.json.

    Raises:
      InputError: a file is missing or damaged, or was exported for other platforms.
    """
    path = files.path(path)
    try:
        content = files.read(path)
        described = files.read_json(description_path(path))
        digest = described["sha256"]
        described["class_names"] = tuple(map(str, described["class_names"]))
        described["image_shape"] = tuple(map(int, described["image_shape"]))
    except OSError as error:
        raise InputError(
            f"exported model {path} cannot be read: {error}; make it with: python -m rir_jax.export"
        ) from None
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"{description_path(path)} is damaged: {error!r}; export again") from None
    if files.digest(content) != digest:
        raise InputError(f"exported model {path} does not match its digest; export again")
    try:
        exported = jax.export.deserialize(bytearray(content))
    except Exception as error:  # a file of another version of JAX may raise anything
        raise InputError(
            f"{path} is not a model that JAX {jax.__version__} reads: {error}"
        ) from None
    if not runs_on(exported.platforms):
        raise InputError(
            f"exported model {path} is for {', '.join(exported.platforms)}, this machine computes "
            f"on {jax.default_backend()}; allowed: a model exported with that in --platforms"
        )
    return exported, described


def classifier(path: epath.PathLike) -> Classifier:
    """The `Classifier` of an exported file.

    Raises:
      InputError: as `read`.
    """
    exported, described = read(path)
    return Classifier(jax.jit(exported.call), described["class_names"], described["image_shape"])


def runs_on(platforms: Sequence[str]) -> bool:
    """Whether this machine's default device belongs to one of the platforms."""
    here = jax.default_backend()
    return not set(platforms).isdisjoint(_ALIASES.get(here, (here,)))


def difference(
    function: Callable[[Any], Any], model: Network, variables: Any, info: Any, count: int = 64
) -> dict[str, float]:
    """The difference between an exported function and its live network, on random images.

    Args:
      function: exported function from uint8 images ``[N, H, W, C]`` to logits.
      model: the live network.
      variables: variables of the network.
      info: class names and preprocessing of the network.
      count: number of images, which the exported function takes in two batches of different sizes.

    Returns:
      "difference", the largest difference between logits; "largest", the largest logit; and
      "agreement", the part (0 to 1) of the images that get the same class.
    """
    random = np.random.default_rng(0)
    images = random.integers(0, 256, (count, *info.image_shape), np.uint8)
    live = np.asarray(
        jax.jit(lambda v, images: model.apply(v, info.preprocess(images)))(variables, images)
    )
    ours = np.concatenate([function(images[:1]), function(images[1:])])
    return {
        "difference": float(np.abs(ours - live).max()),
        "largest": float(np.abs(live).max()),
        "agreement": float((ours.argmax(-1) == live.argmax(-1)).mean()),
    }


def description_path(path: epath.PathLike) -> epath.Path:
    """The path of an exported file's description: ``model.jax.json`` for ``model.jax``."""
    return files.path(f"{os.fspath(path)}.json")
