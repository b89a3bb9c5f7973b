"""Trains a network to the end of its run, or resumes it: the command line calls this."""

import dataclasses
import logging
from collections.abc import Callable
from typing import Any

import ml_collections
from etils import epath

from rir_jax import config as configs
from rir_jax import config_fields
from rir_jax.data.dataset import Dataset
from rir_jax.devices import processes
from rir_jax.errors import InputError
from rir_jax.runs.interrupt import StopRequest
from rir_jax.runs.progress import Place
from rir_jax.runs.run import Run
from rir_jax.runs.seeds import train_seeds
from rir_jax.runs.workdir import Workdir
from rir_jax.trained.transfer import Source, read_source, take_over
from rir_jax.training.setup import Setup, build, build_model

_log = logging.getLogger(__name__)


def train_and_evaluate(
    config: ml_collections.ConfigDict,
    workdir: epath.PathLike,
    label: str = "",
    *,
    dataset: Dataset | None = None,
    on_record: Callable[[dict[str, Any]], None] | None = None,
) -> dict[str, Any] | None:
    """Trains a network, or resumes its training, and evaluates it.

    Args:
      config: a config from `rir_jax.default_config` or from a file in configs/.
      workdir: a fresh folder, or the folder of an earlier call with the same config, which is then
        resumed.
      label: a text before the progress that is shown, such as "row 2 of 5".
      dataset: arrays to train on, in place of a prepared set. Its name becomes ``dataset.name``
        and its digest ``dataset.digest``, so that only the same arrays can resume the run.
        ``dataset.num_train`` and the like take parts of it.
      on_record: a function that is called with each record of metrics.jsonl and its "seed". After
        a kill, the steps since the last checkpoint are taken again, and recorded again. An
        exception that it raises ends the run.

    Returns:
      The content of summary.json; None if SIGTERM or ``train.time_limit`` stopped the run before
      its end, at a checkpoint that it can be resumed from.

    Raises:
      InputError: a field, file or folder is not allowed; nothing has been written.
      RunError: the run could not go on (the loss is not finite, a disk is full).
      KeyboardInterrupt: Ctrl-C was pressed; at the first, the run still writes a checkpoint.

    Examples:
      >>> import rir_jax, tempfile
      >>> config = rir_jax.default_config()
      >>> config.dataset.name, config.model.name, config.train.epochs = "digits", "cnn32", 1
      >>> config.model.blocks, config.model.layers_per_block = (1, 1, 1), 1
      >>> with tempfile.TemporaryDirectory() as workdir:
      ...     summary = rir_jax.train_and_evaluate(config, workdir)
      >>> summary["steps"]
      2
    """
    configs.validate(config)
    processes.check_joined()
    folder = Workdir(workdir)
    config, source = complete(config, dataset, folder)
    folder.check(config)
    limit = config.train.time_limit
    with StopRequest(None if limit is None else config_fields.seconds(limit)) as stop:
        if not processes.agree_all(folder.finished(config)):
            setup = dataclasses.replace(set_up(config, dataset, source), on_record=on_record)
            with folder.open(config):
                if not processes.agree_all(folder.finished(config)):  # nobody was faster
                    if config.num_seeds > 1:
                        return train_seeds(setup, folder, stop, Place(label))
                    with Run(setup, {config.seed: folder}, stop, Place(label)) as run:
                        summaries = run.finish()
                    return None if summaries is None else summaries[0]
    _log.info("the run in %s is finished already", folder.path)
    return folder.summary()


def complete(
    config: ml_collections.ConfigDict, dataset: Dataset | None, folder: Workdir
) -> tuple[ml_collections.ConfigDict, Source | None]:
    """Completes a config with the digests of its arrays and weights; returns the weights, too.

    A run that has begun no longer needs the weights that it started from: its checkpoints have
    what it took over. If they cannot be read, the digest that the run noted stands for them.

    Raises:
      InputError: the weights cannot be read, and the folder holds no run that started from them;
        or the config has a digest of weights, but no weights.
    """
    fields = {}
    if dataset is not None:
        fields = {"dataset.name": dataset.name, "dataset.digest": dataset.digest}
    source, weights, digest = None, config.init.weights, config.init.digest
    if weights is None and digest is not None and folder.config() is None:
        raise InputError(
            f"init.digest is {digest!r} without init.weights; allowed: unset, the run fills it in"
        )
    if weights is not None:
        try:
            source = read_source(weights)
            fields["init.digest"] = source.digest
        except InputError:
            earlier = folder.config()
            if earlier is None or earlier.init.weights != weights:
                raise
            fields["init.digest"] = earlier.init.digest
    return configs.with_fields(config, fields), source


def set_up(
    config: ml_collections.ConfigDict, dataset: Dataset | None = None, source: Source | None = None
) -> Setup:
    """Builds the parts of a run, with the trained weights that it starts from, if any.

    Args:
      config: a config that `complete` has completed.
      dataset: the whole data set, if the run trains on arrays.
      source: the trained network that the run starts from, if any.

    Raises:
      InputError: as `rir_jax.training.setup.build` and `rir_jax.trained.transfer.take_over`.
    """
    setup = build(config, dataset)
    if source is None:
        return setup
    model = build_model(config, len(setup.dataset.class_names))
    start, line = take_over(source, model, setup.dataset, config.init.freeze)
    if processes.is_main_process():
        _log.info("%s", line)
    return dataclasses.replace(setup, start=start)
