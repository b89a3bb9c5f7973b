"""Folders of pictures to a prepared data set, decoded and fitted as prediction does it."""

import collections
import contextlib
import dataclasses
import io
import os
import re
import sys
import tempfile

import tqdm
from etils import epath

from rir_jax import files
from rir_jax.data import sources
from rir_jax.data.ahead import in_batches
from rir_jax.data.folders import SPLITS, labelled_files
from rir_jax.data.images import read_fitted
from rir_jax.errors import InputError

_BATCH = 64  # files to read at once


@dataclasses.dataclass(frozen=True)
class Example:
    """A picture of the prepared set.

    Attributes:
      key: digest of the file's path within the folder of pictures.
      split: "train" or "test"; None: not chosen yet.
      label: number of the class.
      png: content of a PNG file, of the network's image size.
    """

    key: str
    split: str | None
    label: int
    png: bytes


@dataclasses.dataclass(frozen=True)
class Prepared:
    """The outcome of preparing a folder of pictures.

    Attributes:
      folder: folder of the prepared set.
      class_names: names of the classes, by label.
      counts: number of images in each split.
      skipped: paths of the files that are not images.
    """

    folder: epath.Path
    class_names: tuple[str, ...]
    counts: dict[str, int]
    skipped: tuple[str, ...]


def prepare(
    images: epath.PathLike,
    name: str,
    data_dir: str | None = None,
    image_size: int = 32,
    test_fraction: float = 0.1,
) -> Prepared:
    """Makes a prepared set of folders of pictures of any size, without TensorFlow.

    Args:
      images: folder of CLASS/*, or of train/CLASS/* and test/CLASS/*: PNG, JPEG or WebP files.
      name: name of the set, of lower-case letters, digits and _.
      data_dir: folder to write to, on a disk; None: TFDS's own, ~/tensorflow_datasets.
      image_size: height and width of the prepared images, which are RGB.
      test_fraction: part of each class that becomes the test split, more than 0 and less than 1, if
        the folders do not name the splits. The same files always give the same split, and most
        pictures keep theirs when others are added.

    Raises:
      InputError: the name is taken, there are fewer than two classes, the names of classes collide,
        or a class or a split has no image.
      RunError: the set could not be written.
    """
    _check_name(name)
    sources.check_can_build(name, data_dir)
    _check_free(name, data_dir)
    if not 0 < test_fraction < 1:
        raise InputError(f"test_fraction is {test_fraction}; allowed: more than 0, less than 1")
    by_split = labelled_files(images)
    class_names = tuple(by_split.get("train", by_split.get(None, {})))
    examples, skipped = _read(images, by_split, class_names, (image_size, image_size, 3))
    if None in by_split:
        examples = _split(examples, test_fraction)
    _check_counts(examples, class_names, images)
    folder = _write(name, data_dir, examples, class_names, image_size)
    counts = {split: sum(example.split == split for example in examples) for split in SPLITS}
    return Prepared(folder, class_names, counts, tuple(skipped))


def _check_name(name):
    if not re.fullmatch(r"[a-z][a-z0-9_]*", name):
        raise InputError(
            f"dataset {name!r} is not a valid name; allowed: lower-case letters, digits and _"
        )
    if name == "digits" or name in sources.names_in_tfds():
        raise InputError(f"dataset {name!r} is the name of another set; allowed: one of your own")


def _check_free(name, data_dir):
    try:
        folder = sources.prepared_folder(name, data_dir)
    except InputError:
        return
    raise InputError(
        f"dataset {name!r} is prepared already, in {folder}; allowed: another name, or this one "
        "once that folder is removed"
    )


def _read(images, by_split, class_names, shape):
    """All pictures as examples, and the paths of the files that are not pictures."""
    root = files.path(images)
    labelled = [
        (path, split, class_names.index(class_name))
        for split, classes in by_split.items()
        for class_name, paths in classes.items()
        for path in paths
    ]

    def read(item):
        path, split, label = item
        key = files.digest(os.fsencode(os.path.relpath(path, root)))
        try:
            return Example(key, split, label, _png(path, shape))
        except InputError as error:
            return path, error

    examples, skipped = [], []
    on_terminal = sys.stderr.isatty()
    every = 0.1 if on_terminal else 60.0  # seconds between updates of the bar
    with tqdm.tqdm(total=len(labelled), unit=" files", mininterval=every, delay=every) as bar:
        say = bar.write if on_terminal else print  # bar.write draws the bar each time
        for batch in in_batches(labelled, read, _BATCH):
            for result in batch:
                if isinstance(result, Example):
                    examples.append(result)
                else:
                    path, error = result
                    skipped.append(path)
                    say(f"skipped: {error}", file=sys.stderr)
            bar.update(len(batch))
    return examples, skipped


def _png(path, shape):
    from PIL import Image

    file = io.BytesIO()
    Image.fromarray(read_fitted(path, shape)[0]).save(file, "PNG")
    return file.getvalue()


def _split(examples, fraction):
    """Chooses the test split by sorted keys, so few pictures change sides when others are added."""
    by_class = collections.defaultdict(list)
    for example in examples:
        by_class[example.label].append(example.key)
    chosen = {
        key for keys in by_class.values() for key in sorted(keys)[: round(len(keys) * fraction)]
    }
    return [
        dataclasses.replace(example, split=SPLITS[example.key in chosen]) for example in examples
    ]


def _check_counts(examples, class_names, images):
    trained_on = {example.label for example in examples if example.split == "train"}
    for label, name in enumerate(class_names):
        if label not in trained_on:
            raise InputError(
                f"class {name!r} in {images} has no image to train on; allowed: one or more, PNG, "
                "JPEG or WebP"
            )
    if not any(example.split == "test" for example in examples):
        raise InputError(
            f"{images} has no image to test on; allowed: one or more (a larger --test_fraction, "
            "or more images)"
        )


def _write(name, data_dir, examples, class_names, image_size):
    """Writes the set as TFDS does, and returns its folder."""
    import tensorflow_datasets as tfds

    features = {
        "image": tfds.features.Image(shape=(image_size, image_size, 3)),
        "label": tfds.features.ClassLabel(names=list(class_names)),
    }

    class Pictures(tfds.core.GeneratorBasedBuilder, skip_registration=True):
        """Pictures of one's own."""

        VERSION = tfds.core.Version("1.0.0")

        def _info(self):
            return tfds.core.DatasetInfo(
                builder=self, features=tfds.features.FeaturesDict(features)
            )

        def _split_generators(self, dl_manager):
            return {split: self._generate_examples(split) for split in SPLITS}

        def _generate_examples(self, split):
            for example in examples:
                if example.split == split:
                    image = io.BytesIO(example.png)
                    yield example.key, {"image": image, "label": example.label}

    Pictures.name = name
    where = files.path(data_dir or sources.DEFAULT_DATA_DIR)
    tfds.disable_progress_bar()
    # TFDS prints of a download, and would leave a folder for it.
    with contextlib.redirect_stdout(None), tempfile.TemporaryDirectory() as downloads:
        builder = Pictures(data_dir=where, file_format="array_record")
        return sources.build(builder, name, where, download_dir=downloads)
