"""Accuracy and loss of a trained network on a whole split, for a run or a published network."""

import logging
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from etils import epath

from rir_jax.data import sources
from rir_jax.data.dataset import Dataset
from rir_jax.devices.mesh import create_mesh, replicate
from rir_jax.errors import InputError
from rir_jax.models.network import Network
from rir_jax.pictures.attempt import attempt
from rir_jax.pictures.mistakes import confusion_matrix, draw_confusion, draw_mistakes
from rir_jax.runs.workdir import Workdir
from rir_jax.trained.classifier import classifier
from rir_jax.trained.info import Info
from rir_jax.trained.load import load
from rir_jax.trained.weights import from_pretrained
from rir_jax.training import engine as engines

_log = logging.getLogger(__name__)
_TOP = 5
_BATCH_SIZE = 500  # for networks without the config of a run


def evaluate(
    workdir: epath.PathLike,
    data_dir: str | None = None,
    pictures: bool = False,
    batch_size: int | None = None,
    dataset: Dataset | None = None,
) -> dict[str, Any]:
    """Exact accuracy and loss of a run's network on the split that the run reports on.

    Args:
      workdir: folder of the run.
      data_dir: folder of prepared sets; None: the config's.
      pictures: whether to draw confusion.png and mistakes.png into the workdir, which takes a
        second pass over the split. A picture that cannot be drawn gives a warning.
      batch_size: number of images at once; None: the run's eval.batch_size.
      dataset: the data set that was given to `rir_jax.train_and_evaluate`, if any.

    Returns:
      "split", "accuracy" (0 to 1), "num_correct", "loss", "num_examples", "class_accuracy" (by
      class name; None for a class without images), "top5_accuracy" (only with more than five
      classes: the true one is among the five most probable), "step", "model" and "dataset".

    Raises:
      InputError, RunError: as `rir_jax.load`, or the data set is missing, or not the one that the
        network was trained on.
    """
    model, variables, info = load(workdir)
    config: Any = info.config  # every run has one
    dataset = sources.load_for(config, dataset, data_dir)
    known = {name: getattr(info, name) for name in ("image_shape", "class_names", "mean", "std")}
    dataset.check_same(known, f"the network in {workdir}")
    batch_size = batch_size or config.eval.batch_size
    result = _measure(model, variables, info, dataset, batch_size, config.model.name)
    if pictures:
        with attempt("confusion.png and mistakes.png"):
            probabilities = classifier(model, variables, info)(dataset.held_out.images)
            title = f"{config.model.name} on {info.dataset}, {dataset.held_out_name} split"
            _draw(Workdir(workdir), dataset.held_out, probabilities, info.class_names, title)
    return result


def evaluate_pretrained(
    name: str, data_dir: str | None = None, batch_size: int | None = None
) -> dict[str, Any]:
    """Exact accuracy and loss of a published network on the whole test split of its data set.

    Args:
      name: one of `rir_jax.list_pretrained`, or a folder that `rir_jax.save_pretrained` wrote.
      data_dir: folder of prepared sets; None: TFDS's own.
      batch_size: number of images at once; None: 500.

    Returns:
      As `evaluate`.

    Raises:
      InputError: as `rir_jax.from_pretrained`, or the data set is missing or has other classes.
    """
    model, variables, info = from_pretrained(name)
    if not info.dataset:
        raise InputError(f"{name} does not say which data set it was trained on")
    dataset = sources.load(info.dataset, data_dir)
    known = {name: getattr(info, name) for name in ("image_shape", "class_names")}
    dataset.check_same(known, f"the network {name}")
    return _measure(model, variables, info, dataset, batch_size or _BATCH_SIZE, str(name))


def _measure(model: Network, variables: Any, info: Info, dataset: Dataset, batch_size: int, name):
    """The result of `evaluate` for a network of that name, measured on the first device."""
    mesh, split = create_mesh(batch_size, 1), dataset.held_out
    arrays = engines.evaluation_arrays(split, batch_size, info.mean, info.std, mesh)
    program = jax.jit(partial(_evaluate_images, model))
    losses, correct, among = program(replicate(variables, mesh), *arrays)
    right = np.ravel(correct)[: len(split)]
    result = {
        "split": dataset.held_out_name,
        **engines.evaluation_result((losses, correct), len(split)),
        "num_correct": int(right.sum()),
        "num_examples": len(split),
        "class_accuracy": _by_class(right, split.labels, info.class_names),
    }
    if len(info.class_names) > _TOP:
        result["top5_accuracy"] = float(among.sum() / len(split))
    return result | {"step": info.step, "model": name, "dataset": info.dataset}


def _evaluate_images(model, variables, images, labels, mean, std):
    """For each batch the sum of losses; for each image whether it is right, and in the top 5."""

    def of_batch(batch):
        losses, correct, logits = engines.answers(model, variables, *batch, mean, std)
        _, best = jax.lax.top_k(logits, min(_TOP, logits.shape[-1]))
        return jnp.sum(losses), correct, jnp.any(best == batch[1][:, None], axis=-1)

    return jax.lax.map(of_batch, (images, labels))


def _by_class(correct, labels, names):
    counts = np.bincount(labels, minlength=len(names))
    right = np.bincount(labels, weights=correct, minlength=len(names))
    return {
        name: float(of_class / count) if count else None
        for name, of_class, count in zip(names, right, counts, strict=True)
    }


def _draw(folder, split, probabilities, class_names, title):
    labels = split.labels
    matrix = confusion_matrix(labels, probabilities.argmax(axis=-1), len(class_names))
    folder.write_bytes("confusion.png", draw_confusion(matrix, class_names, title))
    mistakes = draw_mistakes(split.images, labels, probabilities, class_names, title)
    folder.write_bytes("mistakes.png", mistakes)
    _log.info("confusion.png and mistakes.png are in %s", folder.path)
