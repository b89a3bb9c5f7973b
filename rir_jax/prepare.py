"""Prepares a data set, once: your own pictures, or one that TFDS downloads.

python -m rir_jax.prepare --images=DIR --dataset=NAME [--image_size=32] [--test_fraction=0.1]
    makes the set NAME from the pictures DIR/CLASS/*, of which it puts a part of each class aside
    for testing, or from DIR/train/CLASS/* and DIR/test/CLASS/*: PNG, JPEG and WebP files of any
    size, cut and resized as rir_jax.predict does it
python -m rir_jax.prepare --dataset=cifar10 [--data_dir=DIR]
    lets TFDS download the set and write it as array_record, which training reads without TensorFlow
"""

from absl import flags
from etils import epath

from rir_jax import cli, extras, files
from rir_jax.data import sources
from rir_jax.errors import InputError

FLAGS = flags.FlagValues()
_DATASET = flags.DEFINE_string(
    "dataset", None, "Name of a TFDS set (cifar10, ...), or a new one for --images.", FLAGS
)
_DATA_DIR = flags.DEFINE_string(
    "data_dir", None, f"Folder of data sets (default {sources.DEFAULT_DATA_DIR}).", FLAGS
)
_IMAGES = flags.DEFINE_string("images", None, "Folder of your own pictures.", FLAGS)
_IMAGE_SIZE = flags.DEFINE_integer(
    "image_size", 32, "Height and width of the prepared images.", 4, 1024, flag_values=FLAGS
)
_TEST_FRACTION = flags.DEFINE_float(
    "test_fraction", 0.1, "Part of each class that is kept for testing.", flag_values=FLAGS
)
_NAMED = 10  # the most skipped files that the summary names


def main(arguments: list[str]) -> None:
    cli.no_arguments(arguments)
    name, data_dir = _DATASET.value, _DATA_DIR.value
    if not name:
        raise InputError("--dataset is missing; see --help")
    if _IMAGES.value:
        print(prepare_pictures(_IMAGES.value, name, data_dir))
    else:
        print(f"{name} is prepared in {prepare(name, data_dir)}")


def prepare_pictures(images: str, name: str, data_dir: str | None) -> str:
    """Makes a data set from one's own pictures; returns a description of it for people."""
    from rir_jax.data import own_pictures

    size = _IMAGE_SIZE.value
    made = own_pictures.prepare(images, name, data_dir, size, _TEST_FRACTION.value)
    counts = " and ".join(f"{count:,} {split}" for split, count in made.counts.items())
    text = (
        f"{name} is prepared in {made.folder}: {len(made.class_names)} classes, {counts} images "
        f"of {size}x{size} pixels"
    )
    if made.skipped:
        named = ", ".join(made.skipped[:_NAMED])
        more = f" and {len(made.skipped) - _NAMED:,} more" if len(made.skipped) > _NAMED else ""
        text += f"\n{len(made.skipped):,} skipped, as no images: {named}{more}"
    return text


def prepare(name: str, data_dir: str | None = None) -> epath.Path:
    """Downloads and prepares a TFDS set, unless it is there. Returns its folder.

    Raises:
      InputError: the set is unknown or cannot be trained on (it is then not downloaded), or
        TensorFlow is missing, which TFDS needs for this alone.
      RunError: the download or the preparation failed.
    """
    if name == "digits":
        raise InputError("dataset 'digits' comes with scikit-learn and needs no preparation")
    sources.check_name(name)
    try:
        return sources.prepared_folder(name, data_dir)
    except InputError:
        pass  # it has to be prepared
    extras.require(f"preparing {name!r}", "tensorflow_datasets")
    import tensorflow_datasets as tfds

    if name.partition("/")[0] not in tfds.list_builders(with_community_datasets=False):
        raise InputError(
            f"dataset {name!r} is unknown to TFDS; allowed: see its catalog, or --images=FOLDER "
            "for pictures of your own"
        )
    sources.check_can_build(name, data_dir)
    extras.require(f"preparing {name!r}", "tensorflow")
    where = files.path(data_dir or sources.DEFAULT_DATA_DIR)
    try:
        builder = tfds.builder(name, data_dir=where, file_format="array_record")
    except ValueError as error:  # the set has no such config
        raise InputError(f"dataset {name!r}: {' '.join(str(error).split())[:300]}") from None
    if builder.builder_config is not None and "/" not in name:
        names = ", ".join(f"{name}/{config}" for config in builder.builder_configs)
        raise InputError(f"dataset {name!r} has several configs; allowed: {names}")
    sources.described(name, builder.info.features)
    return sources.build(builder, name, where)


if __name__ == "__main__":
    cli.start(main, FLAGS)
