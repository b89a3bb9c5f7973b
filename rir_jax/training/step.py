"""One training step and the state that it changes: pure functions, to call from anywhere."""

from collections.abc import Collection
from functools import partial
from typing import Any

import flax.linen as nn
import flax.struct
import jax
import jax.numpy as jnp
import optax

from rir_jax import random_numbers
from rir_jax.training.objective import cross_entropy


class TrainState(flax.struct.PyTreeNode):
    """The state of a run, without its config and its data.

    Attributes:
      step: number of steps taken, int32; with the seed it determines the next batch.
      params: the network's parameters.
      batch_stats: the running statistics of the network's batch norms.
      opt_state: the optimizer's state.
      average: the moving average of the variables over steps; None if none is kept.
    """

    step: jax.Array
    params: Any
    batch_stats: Any
    opt_state: Any
    average: Any = None

    @property
    def variables(self) -> dict[str, Any]:
        """The trained variables."""
        return {"params": self.params, "batch_stats": self.batch_stats}

    @property
    def result(self) -> dict[str, Any]:
        """The variables to evaluate and use: their moving average, if one is kept."""
        return self.variables if self.average is None else self.average


def create_train_state(
    model: nn.Module,
    optimizer: optax.GradientTransformation,
    seed: Any,
    image_shape: tuple[int, int, int],
    averaged: bool = False,
) -> TrainState:
    """A fresh state. Traceable.

    Args:
      model: a network of this package, or a linen module like it that has "batch_stats" and is
        called as ``model(images, train=)``.
      optimizer: the optimizer of the parameters.
      seed: the random seed, a whole number or an array of one.
      image_shape: the shape of an image, ``(H, W, C)``.
      averaged: whether a moving average of the variables over steps is kept.

    Examples:
      >>> import rir_jax
      >>> model = rir_jax.create_model("rir32", blocks=(1, 1, 1))
      >>> state = rir_jax.create_train_state(model, optax.sgd(0.1), 0, (8, 8, 3))
      >>> int(state.step)
      0
    """
    images = jnp.zeros((1, *image_shape), model.dtype or jnp.float32)
    variables = model.init(random_numbers.key(seed), images)
    params = variables["params"]
    stats = variables["batch_stats"]
    average = {"params": params, "batch_stats": stats} if averaged else None
    return TrainState(jnp.zeros((), jnp.int32), params, stats, optimizer.init(params), average)


def abstract_train_state(
    model, optimizer, image_shape, sharding, averaged: bool = False
) -> TrainState:
    """The shapes and types of a state under one sharding. Makes no state."""
    create = partial(create_train_state, model, optimizer, 0, image_shape, averaged)
    return jax.tree.map(
        lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=sharding), jax.eval_shape(create)
    )


def train_step(
    model: nn.Module,
    optimizer: optax.GradientTransformation,
    state: TrainState,
    images: jax.Array,
    labels: jax.Array,
    label_smoothing: float = 0.0,
    average_decay: float = 0.0,
    frozen: Collection[str] = (),
) -> tuple[TrainState, dict[str, jax.Array]]:
    """One step of SGD on one batch.

    Args:
      model: the network, from images to logits, with "batch_stats".
      optimizer: the optimizer, whose updates are added to the parameters.
      state: the state before the step.
      images: the normalized images of the batch, ``[N, H, W, C]``.
      labels: their classes, int ``[N]``, or probabilities ``[N, classes]``.
      label_smoothing: the label smoothing of the training loss; see
        `rir_jax.training.objective.cross_entropy`.
      average_decay: the decay of the moving average, if the state has one.
      frozen: parts of a network of this package whose batch norms use their running statistics.
        (The optimizer keeps their parameters as they are: see `rir_jax.training.objective.sgd`.)

    Returns:
      The state after the step, and the batch's "loss" (mean cross-entropy) and "accuracy" (0 to 1)
      before the update, scalars.
    """

    def loss_of(params):
        variables = {"params": params, "batch_stats": state.batch_stats}
        how = {"train": True, "frozen": frozen} if frozen else {"train": True}
        logits, updates = model.apply(variables, images, mutable=["batch_stats"], **how)
        losses = cross_entropy(logits, labels, label_smoothing)
        return losses.mean(), (logits, updates["batch_stats"])

    (loss, (logits, batch_stats)), grads = jax.value_and_grad(loss_of, has_aux=True)(state.params)
    updates, opt_state = optimizer.update(grads, state.opt_state, state.params)
    params = optax.apply_updates(state.params, updates)
    accuracy = jnp.mean(is_correct(logits, labels), dtype=jnp.float32)
    new_state = TrainState(state.step + 1, params, batch_stats, opt_state)
    if state.average is not None:
        average = moving_average(state.average, new_state.variables, state.step, average_decay)
        new_state = new_state.replace(average=average)
    return new_state, {"loss": loss, "accuracy": accuracy}


def is_correct(logits: jax.Array, labels: jax.Array) -> jax.Array:
    """Whether each label has the largest of the logits ``[N, classes]``, bool ``[N]``."""
    if labels.ndim > 1:
        labels = jax.lax.argmax(labels, labels.ndim - 1, jnp.int32)
    return jax.lax.argmax(logits, logits.ndim - 1, jnp.int32) == labels


def moving_average(average: Any, variables: Any, step: jax.Array, decay: float) -> Any:
    """The moving average after a step: ``decay * average + (1 - decay) * variables``.

    In the first steps the old average weighs less, ``(1 + step) / (10 + step)``, so that the
    network's random start is soon forgotten.
    """
    step = step.astype(jnp.float32)
    kept = jnp.minimum(decay, (1 + step) / (10 + step))
    return jax.tree.map(lambda a, v: kept * a + (1 - kept) * v, average, variables)
