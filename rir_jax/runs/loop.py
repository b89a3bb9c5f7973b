"""What the command line calls: trains a network, or goes on with it, to the end of its run."""

import logging
from typing import Any

import ml_collections
from etils import epath

from rir_jax import config as configs
from rir_jax.devices import processes
from rir_jax.runs.interrupt import StopRequest
from rir_jax.runs.progress import Place
from rir_jax.runs.run import Run
from rir_jax.runs.seeds import train_seeds
from rir_jax.runs.workdir import Workdir
from rir_jax.training.setup import build

_log = logging.getLogger(__name__)


def train_and_evaluate(
    config: ml_collections.ConfigDict, workdir: epath.PathLike, label: str = ""
) -> dict[str, Any] | None:
    """Trains a network, or goes on with it, and evaluates it.

    Args:
      config: from `rir_jax.default_config` or a file in configs/.
      workdir: a fresh folder, or one of an earlier call with the same config: what was done
        there is not done again.
      label: put before the progress that is shown, such as "row 2 of 5".

    Returns:
      What summary.json holds; None if the run stopped before its end, by SIGTERM or by
      ``train.time_limit``, with a checkpoint to go on from.

    Raises:
      InputError: a field, file or folder that is not allowed; nothing has been written.
      RunError: the run could not go on (the loss is not finite, a disk is full).
      KeyboardInterrupt: Ctrl-C; the first lets the run write a checkpoint to go on from.

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
    folder.check(config)
    limit = config.train.time_limit
    with StopRequest(None if limit is None else configs.seconds(limit)) as stop:
        if not processes.agree_all(folder.finished(config)):
            setup = build(config)
            with folder.open(config):
                if not processes.agree_all(folder.finished(config)):  # nobody was faster
                    if config.num_seeds > 1:
                        return train_seeds(setup, folder, stop, Place(label))
                    with Run(setup, {config.seed: folder}, stop, Place(label)) as run:
                        summaries = run.finish()
                    return None if summaries is None else summaries[0]
    _log.info("the run in %s is finished already", folder.path)
    return folder.summary()
