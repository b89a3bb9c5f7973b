"""Prepares a data set, once: python -m rir_jax.prepare --dataset=cifar10 [--data_dir=DIR]

TFDS downloads it and writes it as array_record, which training then reads without TensorFlow.
"""

from absl import flags
from etils import epath

from rir_jax import cli, extras, files
from rir_jax.data import sources
from rir_jax.errors import InputError, RunError

FLAGS = flags.FlagValues()
_DATASET = flags.DEFINE_string("dataset", None, "Name of a TFDS set: cifar10, cifar100, ...", FLAGS)
_DATA_DIR = flags.DEFINE_string(
    "data_dir", None, f"Where to (default {sources.DEFAULT_DATA_DIR}).", FLAGS
)


def main(arguments: list[str]) -> None:
    cli.no_arguments(arguments)
    if not _DATASET.value:
        raise InputError("--dataset is missing; see --help")
    print(f"{_DATASET.value} is prepared in {prepare(_DATASET.value, _DATA_DIR.value)}")


def prepare(name: str, data_dir: str | None = None) -> epath.Path:
    """Downloads and prepares a TFDS set, unless it is there. Returns its folder.

    Raises:
      InputError: an unknown set, one that cannot be trained on (nothing is downloaded then), or
        TensorFlow (which TFDS needs for this alone) is missing.
      RunError: the download or the preparation failed.
    """
    if name == "digits":
        raise InputError("dataset 'digits' comes with scikit-learn and needs no preparation")
    sources.check_name(name)
    try:
        return sources.prepared_folder(name, data_dir)
    except InputError:
        pass  # to be prepared
    if data_dir is not None and files.is_remote(data_dir):
        raise InputError(
            f"data_dir is {data_dir}, and {name!r} is not there; allowed: a folder on a disk "
            "(gcloud storage cp --recursive copies it to a bucket)"
        )
    extras.require(f"preparing {name!r}", "tensorflow", "array_record", "importlib_resources")
    import tensorflow_datasets as tfds

    where = files.path(data_dir or sources.DEFAULT_DATA_DIR)
    try:
        builder = tfds.builder(name, data_dir=where, file_format="array_record")
    except tfds.core.DatasetNotFoundError:
        raise InputError(f"dataset {name!r} is unknown to TFDS; allowed: see its catalog") from None
    except ValueError as error:  # of its configs
        raise InputError(f"dataset {name!r}: {' '.join(str(error).split())[:300]}") from None
    if builder.builder_config is not None and "/" not in name:
        names = ", ".join(f"{name}/{config}" for config in builder.builder_configs)
        raise InputError(f"dataset {name!r} has several configs; allowed: {names}")
    sources.described(name, builder.info.features)
    try:
        builder.download_and_prepare()
    except Exception as error:  # network, disk, checksums: whatever TFDS raises
        reason = " ".join(str(error).split())[:300]
        raise RunError(f"dataset {name!r} could not be prepared in {where}: {reason}") from error
    return sources.prepared_folder(name, data_dir)


if __name__ == "__main__":
    cli.start(main, FLAGS)
