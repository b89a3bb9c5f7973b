"""What goes with a trained network, so that its numbers mean something."""

import dataclasses
import reprlib
from collections.abc import Sequence
from typing import Any

import jax
import ml_collections
import numpy as np
from jax.typing import ArrayLike

from rir_jax.data import augment
from rir_jax.data.images import as_images
from rir_jax.errors import InputError

_KEPT_AS = {
    "class_names": lambda names: tuple(map(str, names)),
    "image_shape": lambda sizes: tuple(map(int, sizes)),
    "mean": lambda values: np.asarray(values, np.float32),
    "std": lambda values: np.asarray(values, np.float32),
    "step": int,
}
_ALLOWED = {
    "class_names": "a name for each logit",
    "image_shape": "(H, W, C), of 1 or more each",
    "mean": "a number for each channel",
    "std": "a number for each channel",
    "step": "a whole number",
}


@dataclasses.dataclass(frozen=True)
class Info:
    """Class names and preprocessing of a network.

    Attributes:
      class_names: one for each logit.
      image_shape: ``(H, W, C)`` of the images that it was trained on.
      mean, std: a number for each channel, for pixels from 0 to 255; kept as float32 ``[C]``.
      dataset: its name.
      step: training steps taken.
      config: of the run; None if the network comes from elsewhere.
      card: how the network was trained and how good it is, as JSON values: of a published network,
        or of a finished run what its summary.json holds.

    Raises:
      InputError: a mean or deviation that does not fit the channels.

    Examples:
      >>> info = Info(["no", "yes"], (8, 8, 1), mean=[78.0], std=[96.0])
      >>> info
      Info(2 classes ('no', 'yes'), images (8, 8, 1))
      >>> info.preprocess(np.full((1, 8, 8, 1), 174, np.uint8))[0, 0, 0].tolist()
      [1.0]
    """

    class_names: Sequence[str]
    image_shape: tuple[int, int, int]
    mean: Any
    std: Any
    dataset: str = ""
    step: int = 0
    config: ml_collections.ConfigDict | None = None
    card: dict[str, Any] | None = None

    def __post_init__(self):
        for name, make in _KEPT_AS.items():
            value = getattr(self, name)
            try:
                object.__setattr__(self, name, make(value))
            except (TypeError, ValueError):
                raise InputError(f"{name} is {value!r}; allowed: {_ALLOWED[name]}") from None
        if len(self.image_shape) != 3 or min(self.image_shape) < 1:
            raise InputError(
                f"image_shape is {self.image_shape}; allowed: {_ALLOWED['image_shape']}"
            )
        for name in ("mean", "std"):
            value = getattr(self, name)
            if value.shape != self.image_shape[-1:] or not np.isfinite(value).all():
                raise InputError(
                    f"{name} is {value.tolist()}; allowed: one number for each of "
                    f"{self.image_shape[-1]} channels"
                )
        if not (self.std > 0).all():
            raise InputError(f"std is {self.std.tolist()}; allowed: more than 0")

    def __repr__(self) -> str:
        names = reprlib.repr(self.class_names)
        texts = [
            f"{len(self.class_names)} classes {names}",
            f"images {self.image_shape}",
            *([f"dataset {self.dataset!r}"] if self.dataset else []),
            *([f"step {self.step:,}"] if self.step else []),
            *([f"model {self.config.model.name!r}"] if self.config else []),
        ]
        return f"Info({', '.join(texts)})"

    def preprocess(self, images: ArrayLike) -> jax.Array:
        """uint8 images ``[N, H, W, C]`` to what the network takes, float32. Traceable.

        Raises:
          InputError: images of another type or shape.
        """
        return augment.normalize(as_images(images, self.image_shape), self.mean, self.std)
