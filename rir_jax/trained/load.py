"""Trained networks, read back from the folder of their run."""

import logging
from typing import Any

import jax
from etils import epath

from rir_jax.data import sources
from rir_jax.devices.mesh import create_mesh, replicated
from rir_jax.errors import InputError
from rir_jax.models.network import Network
from rir_jax.pictures.mistakes import confusion_matrix, draw_confusion, draw_mistakes
from rir_jax.runs.checkpoints import Checkpoints
from rir_jax.runs.workdir import Workdir, check_same
from rir_jax.trained.classifier import classifier
from rir_jax.trained.info import Info
from rir_jax.training import engine as engines
from rir_jax.training.setup import build_engine, build_model, build_optimizer
from rir_jax.training.step import abstract_train_state

_log = logging.getLogger(__name__)


def load(workdir: epath.PathLike) -> tuple[Network, dict[str, Any], Info]:
    """The network of a run, from its newest intact checkpoint, on the first device.

    Returns:
      The model, its variables ("params" and "batch_stats") and an `Info`. Logits of uint8 images
      are ``model.apply(variables, info.preprocess(images))``.

    Raises:
      InputError: the folder holds no run, or none with a checkpoint.
      RunError: all of its checkpoints are damaged.
    """
    folder = Workdir(workdir)
    config = folder.config()
    if config is None:
        raise InputError(f"workdir {folder.path} holds no run (no config.json)")
    if config.num_seeds > 1:
        raise InputError(
            f"workdir {folder.path} holds runs of {config.num_seeds} seeds; allowed: one of them, "
            f"such as {folder / f'seed_{config.seed}'}"
        )
    device = jax.sharding.SingleDeviceSharding(jax.local_devices()[0])

    def abstract_state(notes):
        check_same(config, notes["config"], f"a checkpoint in {folder / 'checkpoints'}")
        model = build_model(config, len(notes["dataset"]["class_names"]))
        optimizer, _ = build_optimizer(config, model, steps_per_epoch=1)
        return abstract_train_state(
            model,
            optimizer,
            notes["dataset"]["image_shape"],
            device,
            config.train.average_decay > 0,
        )

    restored = Checkpoints(folder / "checkpoints").restore(abstract_state)
    if restored is None:
        raise InputError(f"workdir {folder.path} holds no checkpoint yet; train first")
    state, notes = restored
    described = notes["dataset"]
    info = Info(
        class_names=described["class_names"],
        image_shape=described["image_shape"],
        mean=described["mean"],
        std=described["std"],
        dataset=described["name"],
        step=int(state.step),
        config=config,
    )
    return build_model(config, len(info.class_names)), state.result, info


def load_finished(workdir: epath.PathLike) -> tuple[Network, dict[str, Any], Info]:
    """As `load`, of a run that has come to its end.

    Raises:
      InputError, RunError: as `load`, or the run is not finished.
    """
    loaded = load(workdir)
    folder = Workdir(workdir)
    if folder.summary() is None:
        raise InputError(
            f"workdir {folder.path} holds no finished run, its newest checkpoint is of step "
            f"{loaded[2].step}; allowed: a finished one (the same train command goes on with it)"
        )
    return loaded


def evaluate(
    workdir: epath.PathLike, data_dir: str | None = None, pictures: bool = False
) -> dict[str, Any]:
    """Exact accuracy and loss of a run's network on the whole split that it reports on.

    Args:
      workdir: of the run.
      data_dir: where the prepared data set is now, if not where the config says.
      pictures: whether to draw confusion.png and mistakes.png into the workdir, which takes a
        second pass over the split.

    Returns:
      "split", "accuracy" (0 to 1), "loss", "num_examples", "step", "model" and "dataset".

    Raises:
      InputError, RunError: as `load`, or the data set is not there or of other classes.
    """
    model, variables, info = load(workdir)
    dataset = _dataset_of(info, data_dir)
    config: Any = info.config  # a run has one
    held_out = dataset.held_out
    mesh = create_mesh(config.eval.batch_size, 1)
    engine, _ = build_engine(
        config, len(info.class_names), len(dataset.train), info.image_shape, mesh
    )
    everywhere = jax.device_put(variables, replicated(mesh))
    arrays = engines.evaluation_arrays(held_out, config.eval.batch_size, info.mean, info.std, mesh)
    result = engines.evaluation_result(engine.evaluate(everywhere, *arrays), len(held_out))
    if pictures:
        probabilities = classifier(model, variables, info)(held_out.images)
        title = f"{config.model.name} on {info.dataset}, {dataset.held_out_name} split"
        _draw(Workdir(workdir), held_out, probabilities, info.class_names, title)
    return {
        "split": dataset.held_out_name,
        **result,
        "num_examples": len(held_out),
        "step": info.step,
        "model": config.model.name,
        "dataset": info.dataset,
    }


def _dataset_of(info, data_dir):
    """The data set of a run, found to be the one that it was trained on."""
    config = info.config
    dataset = sources.load(
        info.dataset, data_dir or config.dataset.data_dir, config.dataset.validation_fraction
    )
    if (dataset.image_shape, dataset.class_names) != (info.image_shape, info.class_names):
        raise InputError(
            f"dataset {info.dataset!r} has images {dataset.image_shape} of "
            f"{len(dataset.class_names)} classes; the network was trained on {info.image_shape} "
            f"of {len(info.class_names)}"
        )
    return dataset


def _draw(folder, split, probabilities, class_names, title):
    labels = split.labels
    matrix = confusion_matrix(labels, probabilities.argmax(axis=-1), len(class_names))
    folder.write_bytes("confusion.png", draw_confusion(matrix, class_names, title))
    mistakes = draw_mistakes(split.images, labels, probabilities, class_names, title)
    folder.write_bytes("mistakes.png", mistakes)
    _log.info("confusion.png and mistakes.png are in %s", folder.path)
