"""The compiled programs of a run: make a state, train many steps, evaluate a split.

A training call is one XLA program that loops over steps on the device: draw the batch, augment
it, step, keep the metrics. How many steps it takes is an argument, so one compiled program
serves them all, and how a run is cut into calls changes no bit of its result. The host waits for
nothing but the metrics, and for those a call late.
"""

import dataclasses
from functools import cached_property, partial
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.sharding import NamedSharding, PartitionSpec

from rir_jax.data import augment
from rir_jax.data.dataset import Split
from rir_jax.data.pipeline import Batches
from rir_jax.parallel import replicate, replicated
from rir_jax.training.objective import cross_entropy
from rir_jax.training.step import (
    TrainState,
    abstract_train_state,
    create_train_state,
    train_step,
)


@dataclasses.dataclass(frozen=True)
class Engine:
    """The programs of one run.

    Attributes:
      model: the network.
      optimizer: of its parameters.
      batches: how the training split is cut and augmented; its mesh is the run's.
    """

    model: nn.Module
    optimizer: optax.GradientTransformation
    batches: Batches

    @property
    def mesh(self) -> jax.sharding.Mesh:
        return self.batches.mesh

    def init(self, seed: int) -> TrainState:
        """A fresh state, on every device of the mesh."""
        create = partial(
            create_train_state, self.model, self.optimizer, image_shape=self.batches.image_shape
        )
        return jax.jit(create, out_shardings=replicated(self.mesh))(np.uint32(seed))

    def abstract_state(self) -> TrainState:
        """Shapes, types and shardings of a state, without one."""
        return abstract_train_state(
            self.model, self.optimizer, self.batches.image_shape, replicated(self.mesh)
        )

    def step(self, state: TrainState, arrays, permutation, seed) -> tuple[TrainState, Any]:
        """The body of the loop: one batch drawn and one step taken. Traceable."""
        images, labels = self.batches.batch(arrays, permutation, seed, state.step)
        return train_step(self.model, self.optimizer, state, images, labels)

    def _steps(self, state, arrays, seed, stop):
        per_epoch = self.batches.steps_per_epoch
        permutation = self.batches.permutation(seed, state.step // per_epoch)

        def body(carry):
            state, metrics = carry
            position = state.step % per_epoch
            state, of_step = self.step(state, arrays, permutation, seed)
            return state, {name: metrics[name].at[position].set(of_step[name]) for name in metrics}

        metrics = {name: jnp.zeros(per_epoch, jnp.float32) for name in ("loss", "accuracy")}
        return jax.lax.while_loop(lambda carry: carry[0].step < stop, body, (state, metrics))

    @cached_property
    def train(self):
        """``(state, arrays, seed, stop) -> (state, metrics)``, compiled; the old state is given up.

        Trains until step ``stop``, no further than the epoch's end. "loss" and "accuracy" are
        float32 ``[steps_per_epoch]``, filled in at the positions of the steps taken.
        """
        whole = replicated(self.mesh)
        return jax.jit(self._steps, in_shardings=whole, out_shardings=whole, donate_argnums=0)

    def _evaluate(self, variables, images, labels, mean, std):
        def of_batch(batch):
            batch_images, batch_labels = batch
            images = augment.normalize(batch_images, mean, std)
            logits = self.model.apply(variables, images)
            counts = batch_labels >= 0  # the last batch is filled up with labels of -1
            losses = cross_entropy(logits, jnp.maximum(batch_labels, 0))
            correct = (jnp.argmax(logits, axis=-1) == batch_labels) & counts
            return jnp.sum(jnp.where(counts, losses, 0)), jnp.sum(correct)

        return jax.lax.map(of_batch, (images, labels))

    @cached_property
    def evaluate(self):
        """``(variables, images, labels, mean, std) -> (loss sums, numbers correct)``, by batch.

        Takes what `evaluation_arrays` gives.
        """
        whole = replicated(self.mesh)
        split = NamedSharding(self.mesh, PartitionSpec(None, "data"))
        return jax.jit(
            self._evaluate, in_shardings=(whole, split, split, whole, whole), out_shardings=whole
        )


def evaluation_arrays(split: Split, batch_size: int, mean, std, mesh) -> tuple[jax.Array, ...]:
    """A split on the devices in whole batches, the last one filled up with labels of -1.

    Images uint8 ``[batches, batch_size, H, W, C]``, labels int32 ``[batches, batch_size]``, each
    batch over the mesh's "data" axis; ``mean`` and ``std`` follow, float32 ``[C]``.
    """
    size = min(batch_size, len(split))
    size += -size % mesh.shape["data"]
    missing = -len(split) % size
    images = np.pad(split.images, ((0, missing), (0, 0), (0, 0), (0, 0)))
    labels = np.pad(split.labels, (0, missing), constant_values=-1)
    by_batch = NamedSharding(mesh, PartitionSpec(None, "data"))

    def put(array):
        array = array.reshape(-1, size, *array.shape[1:])
        return jax.make_array_from_callback(array.shape, by_batch, lambda index: array[index])

    statistics = replicate((mean.astype("float32"), std.astype("float32")), mesh)
    return put(images), put(labels), *statistics


def evaluation_result(sums: tuple[jax.Array, jax.Array], count: int) -> dict[str, float]:
    """Mean "loss" and "accuracy" (0 to 1) over ``count`` examples, from what `evaluate` gives."""
    losses, correct = (np.asarray(array, np.float64) for array in sums)
    return {"loss": float(losses.sum() / count), "accuracy": float(correct.sum() / count)}
