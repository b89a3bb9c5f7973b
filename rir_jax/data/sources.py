"""Where images come from: scikit-learn's digits, and every TFDS set of images of one shape."""

import contextlib
import functools
import importlib.util
import json
import pathlib
import tempfile

import ml_collections
import numpy as np
from etils import epath

from rir_jax import files
from rir_jax.data import cache
from rir_jax.data.dataset import Dataset, Split, make_dataset
from rir_jax.errors import InputError

DEFAULT_DATA_DIR = "~/tensorflow_datasets"
_BATCH = 4096  # read at once: item by item costs several times as much


def load_for(config: ml_collections.ConfigDict) -> Dataset:
    """The data set of a run's config; see `load`."""
    return load(**config.dataset)


def load(
    name: str,
    data_dir: str | None = None,
    validation_fraction: float = 0.0,
    num_train: int | None = None,
    num_test: int | None = None,
) -> Dataset:
    """Loads a data set into memory. Never downloads anything.

    Args:
      name: "digits", or the name of a TFDS set ("cifar10", "cifar100", "svhn_cropped", ...) that
        `rir_jax.prepare` has prepared.
      data_dir: folder of prepared TFDS sets (default: TFDS's own, ~/tensorflow_datasets), on a
        disk or in a bucket (``gs://``).
      validation_fraction: part of the training split to hold out and report on, 0 for none.
      num_train, num_test: how many images of a split to use, the first ones (TFDS stores them in
        a random order); all when None.

    Raises:
      InputError: the set is not prepared, is of another kind or has fewer images, or a package to
        read it is missing.
    """
    read = _digits if name == "digits" else functools.partial(_tfds, name, data_dir)
    train, test, class_names = read()
    train = _first(train, num_train, "dataset.num_train", "training", name)
    test = _first(test, num_test, "dataset.num_test", "test", name)
    return make_dataset(name, train, test, class_names, validation_fraction)


def _first(split, count, field, kind, name):
    if count is None:
        return split
    if count > len(split):
        raise InputError(
            f"{field} is {count}; allowed: up to {len(split)}, the {kind} images of {name!r}"
        )
    return split.take(np.arange(count))


def _digits():
    """1,797 handwritten digits, 8x8, 16 grey levels; every fifth of each class is for testing."""
    _require("sklearn", "the data set 'digits'", "digits")
    from sklearn.datasets import load_digits

    bunch = load_digits()
    images = np.round(bunch.images * (255 / 16)).astype(np.uint8)[..., None]
    labels = bunch.target.astype(np.int32)
    is_test = np.zeros(len(labels), bool)
    for label in range(10):
        is_test[np.flatnonzero(labels == label)[4::5]] = True
    everything = Split(images, labels)
    class_names = tuple(str(digit) for digit in range(10))
    return everything.take(~is_test), everything.take(is_test), class_names


def _tfds(name, data_dir):
    folder = prepared_folder(name, data_dir)
    for package in ("importlib_resources", "array_record", "PIL"):
        _require(package, f"reading {name!r} from {folder}", "tfds")
    import tensorflow_datasets as tfds

    builder = tfds.builder_from_directory(str(folder))
    info = builder.info
    if not ({"image", "label"} <= set(info.features) and {"train", "test"} <= set(info.splits)):
        raise InputError(
            f"dataset {name!r} in {folder} is no image classification set: allowed: features "
            "'image' and 'label', splits 'train' and 'test'"
        )
    splits = [
        cache.arrays(folder, split, lambda split=split: _decode(folder, split))
        for split in ("train", "test")
    ]
    return *(Split(*arrays) for arrays in splits), tuple(info.features["label"].names)


def prepared_folder(name: str, data_dir: str | None = None) -> epath.Path:
    """The folder of the newest prepared version of a TFDS set, found without TFDS.

    (TFDS's builders create folders and retry the network when asked for a set that is absent.)

    Raises:
      InputError: there is none that can be read, with the command that prepares it.
    """
    try:
        folder = files.path(data_dir or DEFAULT_DATA_DIR)
        files.check_bucket(folder)
        folder.exists()
    except Exception as error:  # too long, no package for gs://, no access, ...
        raise InputError(f"dataset.data_dir is {str(data_dir)[:80]!r}: {error}"[:300]) from None
    root = folder / name
    how = f"prepare it with: python -m rir_jax.prepare --dataset={name} --data_dir={folder}"
    if "/" in name or not name or name.startswith("."):
        raise InputError(f"dataset.name is {name!r}; allowed: 'digits' or the name of a TFDS set")
    infos = sorted(root.glob("*/dataset_info.json")) if root.exists() else []
    if not infos:
        raise InputError(f"dataset {name!r} is not prepared in {folder}; {how}")
    formats = {info: _file_format(info) for info in infos}
    readable = [info for info, file_format in formats.items() if file_format == "array_record"]
    if not readable:
        found = ", ".join(sorted({str(file_format) for file_format in formats.values()}))
        raise InputError(
            f"dataset {name!r} in {root} is in format {found}, not array_record; {how}"
        )
    return max(readable, key=_version).parent


def _file_format(info):
    try:
        return json.loads(info.read_text()).get("fileFormat")
    except (OSError, ValueError, AttributeError, RecursionError):
        return "unknown (dataset_info.json is damaged)"


def _version(info):
    return [int(part) if part.isdigit() else -1 for part in info.parent.name.split(".")]


def _decode(folder, split):
    """All images and labels of a split, in the order of the files."""
    with _on_disk(folder) as local:
        return _decode_local(local, split)


@contextlib.contextmanager
def _on_disk(folder):
    """A prepared folder where array_record can read it, which knows no buckets."""
    if not files.is_remote(folder):
        yield folder
        return
    with tempfile.TemporaryDirectory() as scratch:
        for path in folder.iterdir():
            (pathlib.Path(scratch) / path.name).write_bytes(files.read(path))
        yield scratch


def _decode_local(folder, split):
    import tensorflow_datasets as tfds

    builder = tfds.builder_from_directory(str(folder))
    source = builder.as_data_source(split=split)
    images, labels = [], []
    for start in range(0, len(source), _BATCH):
        indices = range(start, min(start + _BATCH, len(source)))
        for example in source.__getitems__(list(indices)):
            images.append(example["image"])
            labels.append(example["label"])
    shapes = {image.shape for image in images}
    if len(shapes) != 1 or images[0].dtype != np.uint8:
        raise InputError(
            f"dataset {builder.name!r} has {len(shapes)} shapes of images of {images[0].dtype} in "
            f"{split!r}; allowed: uint8 images of one shape"
        )
    return np.stack(images), np.asarray(labels, np.int32)


def _require(package, what, extra):
    if importlib.util.find_spec(package) is None:
        raise InputError(f"{what} needs the package {package}: pip install 'rir_jax[{extra}]'")
