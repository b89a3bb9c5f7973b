"""What the command line calls: trains a network, or goes on with it, to the end of its run."""

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
    """Trains a network, or goes on with it, and evaluates it.

    Args:
      config: from `rir_jax.default_config` or a file in configs/.
      workdir: a fresh folder, or one of an earlier call with the same config: what was done
        there is not done again.
      label: put before the progress that is shown, such as "row 2 of 5".
      dataset: arrays to train on, in place of a prepared set. Its name becomes ``dataset.name``
        and its digest ``dataset.digest``, so that only the same arrays go on with the run.
        ``dataset.num_train`` and the like take parts of it.
      on_record: called with each record as metrics.jsonl gets it, and its "seed". After a kill,
        steps since the last checkpoint are taken, and told of, once more. What it raises ends the
        run.

    Returns:
      What summary.json holds; None if the run stopped before its end, by SIGTERM or by
      ``train.time_limit``, with a checkpoint to go on from.

    Raises:
      InputError: a field, file or folder that is not allowed; nothing has been written.
      RunError: the run could not go on (the loss is not finite, a disk is full).
      KeyboardInterrupt: Ctrl-C; the first lets the run write a checkpoint to go on from.

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
    """A config with the digests of the arrays and weights that it is of, and those weights.

    A run that has begun needs its weights no more: what it took of them is in its checkpoints. If
    they cannot be read, the digest that it noted is taken for theirs.

    Raises:
      InputError: the weights cannot be read, and the folder holds no run from them; or a digest of
        weights without those.
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
    """What a run is made of, with what it takes over from trained weights.

    Args:
      config: `complete`.
      dataset: the whole data set, if the config is of arrays.
      source: the trained network, if it starts from one.

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
