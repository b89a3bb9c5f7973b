"""Classifiers: from images of any size to classes with probabilities."""

import dataclasses
from collections.abc import Callable, Generator, Iterable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from rir_jax.data.ahead import in_batches
from rir_jax.data.images import as_images, read_fitted
from rir_jax.errors import InputError
from rir_jax.models.fold import fold

BATCH_SIZE = 64


@dataclasses.dataclass(frozen=True)
class Classifier:
    """A network that classifies images, from a run, a folder of weights or an exported file.

    Attributes:
      logits: function from uint8 images ``[N, H, W, C]`` to logits ``[N, num_classes]``.
      class_names: name of each logit's class.
      image_shape: shape ``(H, W, C)`` of the images.
    """

    logits: Callable[[jax.Array], jax.Array]
    class_names: tuple[str, ...]
    image_shape: tuple[int, int, int]

    def __call__(self, images: np.ndarray) -> np.ndarray:
        """uint8 images ``[N, H, W, C]`` to probabilities, float32 ``[N, num_classes]``.

        Raises:
          InputError: the images have another type or shape.
        """
        images = as_images(images, self.image_shape)
        found = [np.zeros((0, len(self.class_names)), np.float32)]
        while len(images):
            # A program is compiled for each size, so there are three: 64, 8 (padded) and 1.
            size = BATCH_SIZE if len(images) >= BATCH_SIZE else 8 if len(images) > 1 else 1
            batch, images = images[:size], images[size:]
            padding = (0, size - len(batch)), (0, 0), (0, 0), (0, 0)
            logits = self.logits(jnp.asarray(np.pad(batch, padding)))
            probabilities = np.asarray(jax.nn.softmax(logits, axis=-1), np.float32)
            found.append(probabilities[: len(batch)])
        return np.concatenate(found)

    def predict_files(
        self, paths: Iterable[str], top: int = 3
    ) -> Generator[dict[str, Any], None, None]:
        """The most probable classes of image files, each as soon as it is known.

        Threads read and decode files ahead of the network, which takes as many images at once as
        are ready, up to `BATCH_SIZE`.

        Args:
          paths: paths of PNG, JPEG or WebP files of any size; they may come slowly, from a pipe.
          top: number of classes to give for each file.

        Yields:
          A dict for each file, in order: "image" (the path), "changes" (the changes that fitted the
          image, in words; "" if none) and "classes", the most probable first, each with "name",
          "index" and "probability" (0 to 1). For a file that is not an image: "image" and "error".
        """
        read = partial(_read, image_shape=self.image_shape)
        for batch in in_batches(paths, read, BATCH_SIZE):
            images = [image for _, image in batch if image is not None]
            answers = iter(self(np.array(images, np.uint8).reshape(-1, *self.image_shape)))
            for result, image in batch:
                if image is not None:
                    result["classes"] = self._top(next(answers), top)
                yield result

    def _top(self, probabilities, top):
        order = np.argsort(-probabilities, kind="stable")[:top].tolist()
        return [
            {"name": self.class_names[i], "index": i, "probability": float(probabilities[i])}
            for i in order
        ]


def classifier(model: Any, variables: Any, info: Any) -> Classifier:
    """The folded and compiled classifier of a network, as `rir_jax.load` returns it.

    Examples:
      >>> import rir_jax
      >>> model = rir_jax.create_model("rir32", widths=(4,), blocks=(1,), stem_width=4)
      >>> info = rir_jax.Info(list("0123456789"), (8, 8, 1), mean=[80.0], std=[60.0])
      >>> variables = jax.jit(model.init)(jax.random.key(0), jnp.zeros((1, 8, 8, 1)))
      >>> classify = classifier(model, variables, info)
      >>> classify(np.zeros((3, 8, 8, 1), np.uint8)).shape
      (3, 10)
    """
    plain, folded = fold(model, variables)
    logits = jax.jit(lambda folded, images: plain.apply(folded, info.preprocess(images)))
    return Classifier(partial(logits, folded), info.class_names, info.image_shape)


def _read(path, image_shape):
    """The entry of a file before it is classified, and its image; None if it is not an image."""
    try:
        image, changes = read_fitted(path, image_shape)
    except InputError as error:
        return {"image": str(path), "error": str(error)}, None
    return {"image": str(path), "changes": changes}, image
