"""Sources of images: scikit-learn's digits, and every TFDS set of images of one size."""

import contextlib
import difflib
import importlib.util
import os
import pathlib
import tempfile
from typing import Any

import ml_collections
import numpy as np
from etils import epath

from rir_jax import extras, files
from rir_jax.config_fields import FIELDS
from rir_jax.data import cache
from rir_jax.data.dataset import Dataset, Split, part_of
from rir_jax.data.images import check_channels, decode_image
from rir_jax.errors import InputError, RunError

DEFAULT_DATA_DIR = "~/tensorflow_datasets"
_BATCH = 4096  # images to read at once; reading them one by one takes several times as long


def load_for(
    config: ml_collections.ConfigDict, given: Dataset | None = None, data_dir: str | None = None
) -> Dataset:
    """The part of a data set that a run's config asks for; see `load`.

    Args:
      config: config of the run.
      given: the whole data set, for a run on arrays.
      data_dir: folder of prepared sets; None: the config's.

    Raises:
      InputError: as `load`, or the given data set does not have the digest in the config.
    """
    fields = config.dataset.to_dict()
    digest, data_dir = fields.pop("digest"), data_dir or fields["data_dir"]
    if digest != (given and given.digest):
        found = "none were given" if given is None else f"those given have {given.digest!r}"
        raise InputError(
            f"dataset.digest is {digest!r}, and {found}; allowed: the arrays that the run was "
            "started with, as dataset=, or another workdir"
        )
    if given is None:
        return load(**{**fields, "data_dir": data_dir})
    return part_of(given, fields["validation_fraction"], fields["num_train"], fields["num_test"])


def load(
    name: str,
    data_dir: str | None = None,
    validation_fraction: float = 0.0,
    num_train: int | None = None,
    num_test: int | None = None,
) -> Dataset:
    """Loads a data set into memory. Never downloads anything.

    Args:
      name: "digits", or the name of a TFDS set ("cifar10", "svhn_cropped", ...) that
        `rir_jax.prepare` has prepared, with its config if it has any ("imagenet_resized/32x32").
      data_dir: folder of prepared TFDS sets, on a disk or in a bucket (``gs://``); None: TFDS's
        own, ~/tensorflow_datasets.
      validation_fraction: part of the training split to hold out and report on; 0: none.
      num_train: number of training images to use, the first ones (TFDS stores them in a random
        order); None: all.
      num_test: number of test images to use, the first ones; None: all.

    Raises:
      InputError: the set is not prepared, is not of labelled images, has fewer images, a damaged
        image or a label that is not a class, or a package to read it is missing.
    """
    train, test, class_names = _digits() if name == "digits" else _tfds(name, data_dir)
    whole = Dataset(train, test, class_names, name)
    return part_of(whole, validation_fraction, num_train, num_test)


def _digits():
    """1,797 handwritten digits, 8x8, 16 grey levels; every fifth of each class is a test image."""
    extras.require("the data set 'digits'", "sklearn")
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
    needed = ("tensorflow_datasets", "importlib_resources", "array_record")
    extras.require(f"reading {name!r} from {folder}", *needed)
    import tensorflow_datasets as tfds

    builder = tfds.builder_from_directory(str(files.plain(folder)))
    shape, class_names = described(name, builder.info.features)
    if not {"train", "test"} <= set(builder.info.splits):
        raise InputError(
            f"dataset {name!r} has the splits {', '.join(builder.info.splits)}; allowed: 'train' "
            "and 'test' among them"
        )
    splits = [
        cache.arrays(folder, split, lambda split=split: _decode(folder, split, shape))
        for split in ("train", "test")
    ]
    return *(Split(*arrays) for arrays in splits), class_names


def described(name: str, features) -> tuple[tuple[int | None, ...], tuple[str, ...]]:
    """The shape of the images and the class names of a TFDS set, from its description.

    Args:
      name: name of the set in messages.
      features: the set's TFDS features.

    Returns:
      The images' ``(H, W, C)``, with None for sizes that the set leaves open, and the class names.

    Raises:
      InputError: the images are not grey or RGB of 8 bits, or there are no classes.
    """
    import tensorflow_datasets as tfds

    image = _feature(name, features, "image", tfds.features.Image)
    label = _feature(name, features, "label", tfds.features.ClassLabel)
    dtype = np.dtype(image.np_dtype)
    if dtype != np.uint8:
        raise InputError(f"dataset {name!r} has images of {dtype}; allowed: uint8")
    shape = (*image.shape[:2], image.shape[2] or 3)
    check_channels(shape[-1], f"dataset {name!r}")
    return shape, tuple(label.names)


def _feature(name, features, kind, wanted):
    feature = dict(features.items()).get(kind)
    if not isinstance(feature, wanted):
        found = "none" if feature is None else f"a {type(feature).__name__}"
        raise InputError(
            f"dataset {name!r} has no classes of images: its feature {kind!r} is {found}; "
            f"allowed: a tfds.features.{wanted.__name__}"
        )
    return feature


def check_name(name: str) -> None:
    """Checks the form of a data set's name, which becomes a part of paths.

    Raises:
      InputError: the name has another form.
    """
    field = FIELDS["dataset.name"]
    if not field.check(name):
        raise InputError(f"dataset.name is {name!r}; allowed: {field.allowed}")


def prepared_folder(name: str, data_dir: str | None = None) -> epath.Path:
    """The folder of the newest prepared version of a TFDS set, found without TFDS.

    (TFDS's builders create folders and retry the network when asked for a set that is absent.)

    Raises:
      InputError: no version can be read; names the command that prepares one.
    """
    check_name(name)
    try:
        folder = files.path(data_dir or DEFAULT_DATA_DIR)
        files.check_bucket(folder)
        root = folder / name
        infos = _infos(root)
        others = [] if infos else _folders(root)
        configs = [f"{name}/{child.name}" for child in others if _infos(child)]
    except Exception as error:  # too long, no package for gs://, no access, ...
        raise InputError(f"dataset.data_dir is {str(data_dir)[:80]!r}: {error}"[:300]) from None
    if not infos and configs:
        raise InputError(
            f"dataset {name!r} is prepared in {folder} with a config; allowed: {', '.join(configs)}"
        )
    if not infos:
        raise InputError(f"dataset {name!r} is not prepared in {folder}; {_how(name, folder)}")
    formats = {info: _file_format(info) for info in infos}
    readable = [info for info, file_format in formats.items() if file_format == "array_record"]
    if not readable:
        found = ", ".join(sorted({str(file_format) for file_format in formats.values()}))
        raise InputError(
            f"dataset {name!r} in {root} is in format {found}, not array_record; "
            f"{_how(name, folder)}"
        )
    return max(readable, key=_version).parent


def _how(name, data_dir):
    """The command that prepares a set, which depends on whether TFDS knows its name."""
    command = f"python -m rir_jax.prepare --dataset={name} --data_dir={data_dir}"
    known = names_in_tfds()
    if not known or name.partition("/")[0] in known:
        return f"prepare it with: {command}"
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.75)
    hint = f" (did you mean {near[0]!r}?)" if near else ""
    own = f"prepare pictures of your own with: {command} --images=FOLDER"
    return f"TFDS has no such set{hint}; {own}"


def names_in_tfds() -> list[str]:
    """The names of all sets that TFDS downloads; none if TFDS is not installed."""
    if importlib.util.find_spec("tensorflow_datasets") is None:
        return []
    import tensorflow_datasets as tfds

    return tfds.list_builders(with_community_datasets=False)


def _folders(root):
    return sorted(child for child in root.iterdir() if child.is_dir()) if root.is_dir() else []


def _infos(root):
    """The files that describe the versions of a set, in its folder."""
    infos = (version / "dataset_info.json" for version in _folders(root))
    return [info for info in infos if info.exists()]


def _file_format(info):
    try:
        return files.read_json(info).get("fileFormat")
    except (OSError, ValueError):
        return "unknown (dataset_info.json is damaged)"


def _version(info):
    return [int(part) if part.isdigit() else -1 for part in info.parent.name.split(".")]


@contextlib.contextmanager
def _on_disk(folder):
    """The folder itself, or a copy on disk of one in a bucket, where array_record cannot read."""
    if not files.is_remote(folder):
        yield files.plain(folder)
        return
    with tempfile.TemporaryDirectory() as scratch:
        for path in folder.iterdir():
            (pathlib.Path(scratch) / path.name).write_bytes(files.read(path))
        yield scratch


def _decode(folder, split, shape):
    """All images and labels of a split, in the order of the files.

    They are decoded as the images that are classified later. TFDS's own decoder takes palettes for
    grey and lets 16 bits overflow.
    """
    import tensorflow_datasets as tfds

    images, labels = [], []
    with _on_disk(folder) as local:
        builder = tfds.builder_from_directory(str(local))
        decoders = {"image": tfds.decode.SkipDecoding()}
        source = builder.as_data_source(split=split, decoders=decoders)
        for start in range(0, len(source), _BATCH):
            indices = list(range(start, min(start + _BATCH, len(source))))
            for index, example in zip(indices, source.__getitems__(indices), strict=True):
                name = f"image {index} in {split!r} of dataset {builder.name!r}"
                image = decode_image(example["image"], name, shape[-1])
                sizes = zip(shape, image.shape, strict=True)
                if any(wanted not in (None, size) for wanted, size in sizes):
                    raise InputError(
                        f"{name} is {image.shape}; allowed: {shape}, one size for all (python -m "
                        "rir_jax.prepare --images=FOLDER brings pictures of your own to one size)"
                    )
                shape = image.shape
                images.append(image)
                labels.append(example["label"])
    return np.array(images, np.uint8), np.array(labels, np.int32)


def check_can_build(name: str, data_dir: str | None) -> None:
    """Checks that a set can be written into a folder of prepared sets, before the work begins.

    Raises:
      InputError: the folder is in a bucket, or a package that writes sets is missing.
    """
    if data_dir is not None and files.is_remote(data_dir):
        raise InputError(
            f"data_dir is {data_dir}, and {name!r} is not there; allowed: a folder on a disk "
            "(gcloud storage rsync --recursive copies it to a bucket)"
        )
    extras.require(f"preparing {name!r}", "array_record", "importlib_resources")


def build(builder: Any, name: str, data_dir: epath.PathLike, **options: Any) -> epath.Path:
    """Writes a set by a builder of TFDS, with its options, whole or not at all. Returns its folder.

    Raises:
      RunError: the set could not be downloaded or written.
    """
    try:
        builder.download_and_prepare(**options)
    except Exception as error:  # network, disk, checksums, ...
        reason = " ".join(str(error).split())[:300]
        raise RunError(f"dataset {name!r} could not be prepared in {data_dir}: {reason}") from error
    return prepared_folder(name, os.fspath(data_dir))
