"""One training step and the state that it carries: pure functions, to call from anywhere."""

from functools import partial
from typing import Any

import flax.linen as nn
import flax.struct
import jax
import jax.numpy as jnp
import optax

from rir_jax.training.objective import cross_entropy


class TrainState(flax.struct.PyTreeNode):
    """All that a run is, besides its config and its data.

    Attributes:
      step: int32, steps taken; with the seed it fixes the next batch.
      params: the network's parameters.
      batch_stats: running statistics of its batch norms.
      opt_state: the optimizer's.
    """

    step: jax.Array
    params: Any
    batch_stats: Any
    opt_state: Any

    @property
    def variables(self) -> dict[str, Any]:
        return {"params": self.params, "batch_stats": self.batch_stats}


def create_train_state(
    model: nn.Module, optimizer: optax.GradientTransformation, seed, image_shape
) -> TrainState:
    """A fresh state; ``image_shape`` is ``(H, W, C)``. Traceable."""
    images = jnp.zeros((1, *image_shape), model.dtype)
    variables = model.init(jax.random.key(seed), images)
    params = variables["params"]
    return TrainState(
        jnp.zeros((), jnp.int32), params, variables["batch_stats"], optimizer.init(params)
    )


def abstract_train_state(model, optimizer, image_shape, sharding) -> TrainState:
    """Shapes and types of a state, all of it under one sharding, without making one."""
    create = partial(create_train_state, model, optimizer, 0, image_shape)
    return jax.tree.map(
        lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=sharding), jax.eval_shape(create)
    )


def train_step(
    model: nn.Module,
    optimizer: optax.GradientTransformation,
    state: TrainState,
    images: jax.Array,
    labels: jax.Array,
) -> tuple[TrainState, dict[str, jax.Array]]:
    """One step of SGD on one batch.

    Args:
      model: from images to logits, with batch statistics.
      optimizer: its updates are added to the parameters.
      state: before the step.
      images: ``[N, H, W, C]``, normalized.
      labels: int ``[N]``.

    Returns:
      The state after the step, and of the batch, before the update: "loss" (mean cross-entropy)
      and "accuracy" (from 0 to 1), scalars.
    """

    def loss_of(params):
        variables = {"params": params, "batch_stats": state.batch_stats}
        logits, updates = model.apply(variables, images, train=True, mutable=["batch_stats"])
        return cross_entropy(logits, labels).mean(), (logits, updates["batch_stats"])

    (loss, (logits, batch_stats)), grads = jax.value_and_grad(loss_of, has_aux=True)(state.params)
    updates, opt_state = optimizer.update(grads, state.opt_state, state.params)
    params = optax.apply_updates(state.params, updates)
    accuracy = jnp.mean(jnp.argmax(logits, axis=-1) == labels)
    new_state = TrainState(state.step + 1, params, batch_stats, opt_state)
    return new_state, {"loss": loss, "accuracy": accuracy}
