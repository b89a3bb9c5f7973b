"""Small prepared TFDS sets, written without TensorFlow."""

import io

import numpy as np
from PIL import Image
from sklearn.datasets import load_digits


def png(image) -> io.BytesIO:
    """A PNG file of an array or a picture: TFDS would need TensorFlow to encode an array."""
    file = io.BytesIO()
    picture = image if isinstance(image, Image.Image) else Image.fromarray(image)
    picture.save(file, format="PNG")
    file.seek(0)
    return file


def prepared(data_dir, file_format="array_record"):
    """A real TFDS folder of the set "cifar10", with scikit-learn's digits for its images."""
    import tensorflow_datasets as tfds

    builder = tfds.builder("cifar10", data_dir=data_dir, file_format=file_format)
    pixels = np.kron(load_digits().images[:30] * 15, np.ones((1, 4, 4))).astype(np.uint8)
    images = np.stack([pixels, 255 - pixels, pixels // 2], axis=-1)
    labels = load_digits().target[:30]

    def examples(chosen):
        for i in chosen:
            yield str(i), {"id": str(i), "image": png(images[i]), "label": int(labels[i])}

    builder._split_generators = lambda *args, **kwargs: {
        "train": examples(range(20)),
        "test": examples(range(20, 30)),
    }
    builder.download_and_prepare()
    return {"train": (images[:20], labels[:20]), "test": (images[20:], labels[20:])}


def make_set(
    data_dir,
    files,
    labels=(0, 1),
    shape=(8, 8, 3),
    names=("lying", "upright"),
    config=None,
    features=None,
):
    """A real TFDS folder of a set "bars" whose two splits have the same examples.

    Args:
      data_dir: where to.
      files: image files, opened; as many as there are labels.
      labels: of the images.
      shape: that the set declares.
      names: of the classes.
      config: name of the builder's config, if it shall have one.
      features: in place of the set's image and label.
    """
    import tensorflow_datasets as tfds

    kinds = {
        "image": tfds.features.Image(shape=shape),
        "label": tfds.features.ClassLabel(names=list(names)),
    }
    with tfds.core.registered.skip_registration():

        class Bars(tfds.core.GeneratorBasedBuilder):
            """Lying or upright bars."""

            VERSION = tfds.core.Version("1.0.0")
            if config:
                BUILDER_CONFIGS = (tfds.core.BuilderConfig(name=config, version="1.0.0"),)

            def _info(self):
                chosen = tfds.features.FeaturesDict(kinds if features is None else features)
                return tfds.core.DatasetInfo(builder=self, features=chosen)

            def _split_generators(self, dl_manager):
                return {"train": self._generate_examples(), "test": self._generate_examples()}

            def _generate_examples(self):
                for number, (file, label) in enumerate(zip(files, labels, strict=True)):
                    file.seek(0)
                    yield number, dict(zip(kinds, (file, label), strict=True))

    chosen = {"config": config} if config else {}
    builder = Bars(data_dir=data_dir, file_format="array_record", **chosen)
    builder.download_and_prepare()
