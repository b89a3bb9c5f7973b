"""From images of any size to classes with probabilities: what serving a network needs."""

import dataclasses
import itertools
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from rir_jax.data.images import as_images, convert, read_image
from rir_jax.errors import InputError
from rir_jax.models.fold import fold

BATCH_SIZE = 64


@dataclasses.dataclass(frozen=True)
class Classifier:
    """A network ready to be asked, whatever form it came in.

    Attributes:
      logits: from uint8 images ``[N, H, W, C]`` to ``[N, num_classes]``.
      class_names: one for each logit.
      image_shape: ``(H, W, C)`` of its images.
    """

    logits: Callable[[jax.Array], jax.Array]
    class_names: tuple[str, ...]
    image_shape: tuple[int, int, int]

    def __call__(self, images: np.ndarray) -> np.ndarray:
        """uint8 images ``[N, H, W, C]`` to probabilities, float32 ``[N, num_classes]``.

        Raises:
          InputError: images of another type or shape.
        """
        images = as_images(images, self.image_shape)
        found = [np.zeros((0, len(self.class_names)), np.float32)]
        for start in range(0, len(images), BATCH_SIZE):
            batch = images[start : start + BATCH_SIZE]
            # Batches of a few sizes, so that programs are compiled for a few.
            missing = (1 << (len(batch) - 1).bit_length()) - len(batch)
            padded = np.pad(batch, ((0, missing), (0, 0), (0, 0), (0, 0)))
            probabilities = jax.nn.softmax(self.logits(jnp.asarray(padded)), axis=-1)
            found.append(np.asarray(probabilities, np.float32)[: len(batch)])
        return np.concatenate(found)

    def predict_files(self, paths: Iterable[str], top: int = 3) -> Iterator[dict[str, Any]]:
        """The most probable classes of image files, each as soon as it is known.

        Args:
          paths: of PNG, JPEG or WebP files of any size.
          top: how many classes of each.

        Yields:
          One dict a file, in their order: "image" (its path), "changes" (what was done to fit it,
          in words; "" if nothing) and "classes", the most probable first, each with "name",
          "index" and "probability" (0 to 1). Of a file that is no image, "image" and "error".
        """
        paths, size = iter(paths), 1
        while batch := list(itertools.islice(paths, size)):
            size = min(2 * size, BATCH_SIZE)  # the first answers come soon, then many at once
            fitted = [_fit_file(path, self.image_shape) for path in batch]
            images = [image for _, image in fitted if image is not None]
            answers = iter(self(np.array(images, np.uint8).reshape(-1, *self.image_shape)))
            for result, image in fitted:
                if image is not None:
                    result["classes"] = self._top(next(answers), top)
                yield result

    def _top(self, probabilities, top):
        order = np.argsort(-probabilities, kind="stable")[:top]
        return [
            {
                "name": self.class_names[index],
                "index": int(index),
                "probability": float(probabilities[index]),
            }
            for index in order
        ]


def classifier(model: Any, variables: Any, info: Any) -> Classifier:
    """A network and its `Info`, as `rir_jax.load` returns them, folded and compiled.

    >>> import rir_jax
    >>> model = rir_jax.create_model("rir32", widths=(4,), blocks=(1,), stem_width=4)
    >>> info = rir_jax.Info([str(digit) for digit in range(10)], (8, 8, 1), mean=[80.0], std=[60.0])
    >>> variables = jax.jit(model.init)(jax.random.key(0), jnp.zeros((1, 8, 8, 1)))
    >>> classify = classifier(model, variables, info)
    >>> classify(np.zeros((3, 8, 8, 1), np.uint8)).shape
    (3, 10)
    """
    plain, folded = fold(model, variables)
    logits = jax.jit(lambda folded, images: plain.apply(folded, info.preprocess(images)))
    return Classifier(
        lambda images: logits(folded, images), tuple(info.class_names), tuple(info.image_shape)
    )


def _fit_file(path, image_shape):
    """What is known of a file before it is classified, and its image; None if it is none."""
    try:
        image, changes = fit_image(read_image(path), image_shape)
    except InputError as error:
        return {"image": str(path), "error": str(error)}, None
    return {"image": str(path), "changes": changes}, image


def fit_image(image: np.ndarray, image_shape: tuple[int, int, int]) -> tuple[np.ndarray, str]:
    """Fits an image to a network: cuts the middle to the right proportions, then resizes it.

    Args:
      image: RGB, uint8 ``[height, width, 3]``.
      image_shape: ``(H, W, C)`` of the network's images, C being 1 (grey) or 3.

    Returns:
      uint8 ``[H, W, C]``, and in words what was done, "" if nothing.

    Raises:
      InputError: the network's images are neither grey nor RGB.

    >>> fitted, changes = fit_image(np.zeros((48, 64, 3), np.uint8), (8, 8, 3))
    >>> fitted.shape, changes
    ((8, 8, 3), 'middle 48x48 of 64x48, resized to 8x8')
    """
    from PIL import Image

    height, width = image.shape[:2]
    new_height, new_width, channels = image_shape
    image = convert(image, channels)
    picture = Image.fromarray(image if channels == 3 else image[..., 0])
    changes = []
    scale = min(height / new_height, width / new_width)
    cut = max(1, round(new_width * scale)), max(1, round(new_height * scale))
    if cut != (width, height):
        left, upper = (width - cut[0]) // 2, (height - cut[1]) // 2
        picture = picture.crop((left, upper, left + cut[0], upper + cut[1]))
        changes.append(f"middle {cut[0]}x{cut[1]} of {width}x{height}")
    if cut != (new_width, new_height):
        # Pillow's filters widen with the scale, so that nothing aliases.
        picture = picture.resize((new_width, new_height), Image.Resampling.BICUBIC)
        of = "" if changes else f"{width}x{height} "
        changes.append(f"{of}resized to {new_width}x{new_height}")
    return np.asarray(picture, np.uint8).reshape(image_shape), ", ".join(changes)
