"""Trained networks, read from the folder of their run."""

import dataclasses
from typing import Any

import jax
import ml_collections
from etils import epath

from rir_jax import config as configs
from rir_jax.errors import InputError
from rir_jax.models.network import Network
from rir_jax.runs.checkpoints import Checkpoints
from rir_jax.runs.workdir import Workdir, check_same
from rir_jax.trained.info import Info
from rir_jax.training.setup import build_model, build_optimizer
from rir_jax.training.step import TrainState, abstract_train_state


def load(workdir: epath.PathLike) -> tuple[Network, dict[str, Any], Info]:
    """The network of a run, from its newest intact checkpoint, on the first device.

    Returns:
      The model, its variables ("params" and "batch_stats") and an `Info`. The logits of uint8
      images are ``model.apply(variables, info.preprocess(images))``.

    Raises:
      InputError: the folder holds no run, or a run without a checkpoint.
      RunError: all checkpoints are damaged.
    """
    folder = Workdir(workdir)
    config = folder.config_of_run()
    if config.num_seeds > 1:
        raise InputError(
            f"workdir {folder.path} holds runs of {config.num_seeds} seeds; allowed: one of them, "
            f"such as {folder / f'seed_{config.seed}'}"
        )
    state, notes = read_state(folder, config)
    described = notes["dataset"]
    fields = {name: described[name] for name in ("class_names", "image_shape", "mean", "std")}
    info = Info(**fields, dataset=described["name"], step=int(state.step), config=config)
    return build_model(config, len(info.class_names)), state.result, info


def read_state(
    folder: Workdir, config: ml_collections.ConfigDict
) -> tuple[TrainState, dict[str, Any]]:
    """The state and the notes of a run's newest intact checkpoint, on the first device.

    Args:
      folder: folder of a run of one seed.
      config: config of the run.

    Raises:
      InputError, RunError: as `load`.
    """
    device = jax.sharding.SingleDeviceSharding(jax.local_devices()[0])

    def abstract_state(notes):
        where = f"a checkpoint in {folder / 'checkpoints'}"
        check_same(configs.flatten(config), notes["config"], where)
        model = build_model(config, len(notes["dataset"]["class_names"]))
        optimizer, _ = build_optimizer(config, model, steps_per_epoch=1)
        shape, averaged = notes["dataset"]["image_shape"], config.train.average_decay > 0
        return abstract_train_state(model, optimizer, shape, device, averaged)

    restored = Checkpoints(folder / "checkpoints").restore(abstract_state)
    if restored is None:
        raise InputError(f"workdir {folder.path} holds no checkpoint yet; train first")
    return restored


def load_finished(workdir: epath.PathLike) -> tuple[Network, dict[str, Any], Info]:
    """As `load`, for a run that is finished; `Info.card` is its summary.

    Raises:
      InputError, RunError: as `load`, or the run is not finished.
    """
    model, variables, info = load(workdir)
    folder = Workdir(workdir)
    summary = folder.summary()
    if summary is None:
        raise InputError(
            f"workdir {folder.path} holds no finished run, its newest checkpoint is of step "
            f"{info.step}; allowed: a finished one (the same train command goes on with it)"
        )
    return model, variables, dataclasses.replace(info, card=summary)
