"""The compiled programs of a run: make a state, train many steps, evaluate a split.

A training call is one XLA program that loops over steps on the device: draw the batch, augment
it, step, keep the metrics. The number of its steps is an argument, so one compiled program
serves all calls, and the way a run is cut into calls changes no bit of its result. The host waits
only for the metrics, and reads those one call late.

Several seeds at once are the same program on several groups of devices (`Engine.num_seeds`).
"""

import dataclasses
from collections.abc import Sequence
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
from rir_jax.devices.mesh import replicate, replicated
from rir_jax.training.objective import cross_entropy
from rir_jax.training.step import (
    TrainState,
    abstract_train_state,
    create_train_state,
    is_correct,
    train_step,
)

# A program that runs once: LLVM's later passes take longer than they save. The bits are the same.
_RUNS_ONCE = {"xla_backend_optimization_level": 1}


@dataclasses.dataclass(frozen=True)
class Engine:
    """The programs of one run.

    Attributes:
      model: the network.
      optimizer: the optimizer of the network's parameters.
      batches: the batches of the training split, drawn and augmented over the run's mesh.
      num_seeds: number of networks that are trained at once. Each array of their states and
        metrics is stacked over seeds along a first axis, which the mesh's axis "seed" splits. A
        group of devices computes for its one seed what it would compute for it alone, bit for bit;
        seeds that share a group go through batched kernels, which sum in another order.
      label_smoothing: the label smoothing of the training loss.
      average_decay: the decay of the variables' moving average, evaluated in their place; 0: none.
      frozen: parts of the network that are not trained.
    """

    model: nn.Module
    optimizer: optax.GradientTransformation
    batches: Batches
    num_seeds: int = 1
    label_smoothing: float = 0.0
    average_decay: float = 0.0
    frozen: tuple[str, ...] = ()

    @property
    def mesh(self) -> jax.sharding.Mesh:
        return self.batches.mesh

    def init(self, seed: int) -> TrainState:
        """The fresh state of a seed, on every device of the mesh."""
        return self._init(np.uint32(seed))

    @cached_property
    def _init(self):
        create = partial(
            create_train_state,
            self.model,
            self.optimizer,
            image_shape=self.batches.image_shape,
            averaged=self.average_decay > 0,
        )
        on_cpu = self.mesh.devices.flat[0].platform == "cpu"
        return jax.jit(
            create,
            out_shardings=replicated(self.mesh),
            compiler_options=_RUNS_ONCE if on_cpu else None,
        )

    def abstract_state(self) -> TrainState:
        """The shapes, types and shardings of the state of one seed. Makes no state."""
        return abstract_train_state(
            self.model,
            self.optimizer,
            self.batches.image_shape,
            replicated(self.mesh),
            self.average_decay > 0,
        )

    @property
    def _by_seed(self):
        """The sharding of arrays that are stacked over seeds."""
        return NamedSharding(self.mesh, PartitionSpec("seed"))

    @cached_property
    def stack(self):
        """``(*states) -> state``: stacks the states of ``num_seeds`` seeds for `train`."""

        def stack(*states):
            return jax.tree.map(lambda *leaves: jnp.stack(leaves), *states)

        return jax.jit(stack, out_shardings=self._by_seed)

    @cached_property
    def unstack(self):
        """``(state) -> states``: the inverse of `stack`."""

        def unstack(state):
            return [jax.tree.map(lambda x, k=k: x[k], state) for k in range(self.num_seeds)]

        return jax.jit(unstack, out_shardings=replicated(self.mesh))

    def _of_each_seed(self, program):
        """Makes ``program(own, shared)`` of one seed a program of all, with ``own`` stacked."""

        def of_group(own, shared):
            if jax.tree.leaves(own)[0].shape[0] > 1:
                return jax.vmap(program, in_axes=(0, None))(own, shared)
            result = program(jax.tree.map(lambda x: x[0], own), shared)
            return jax.tree.map(lambda x: x[None], result)

        by_seed = PartitionSpec("seed")
        return jax.shard_map(
            of_group,
            mesh=self.mesh,
            in_specs=(by_seed, PartitionSpec()),
            out_specs=by_seed,
            axis_names={"seed"},  # within a group, the compiler splits batches as ever
            check_vma=False,
        )

    def place_seeds(self, seeds: Sequence[int]) -> jax.Array:
        """The seeds in the form of `train`'s argument, uint32 ``[num_seeds]`` on its devices."""
        array = np.array(seeds, np.uint32)
        return jax.make_array_from_callback(array.shape, self._by_seed, lambda index: array[index])

    def step(self, state: TrainState, arrays, permutation, seed) -> tuple[TrainState, Any]:
        """The body of the loop: draws one batch and takes one step. Traceable."""
        images, labels = self.batches.batch(arrays, permutation, seed, state.step)
        return train_step(
            self.model,
            self.optimizer,
            state,
            images,
            labels,
            label_smoothing=self.label_smoothing,
            average_decay=self.average_decay,
            frozen=self.frozen,
        )

    def _steps(self, own, shared):
        (state, seed), (arrays, stop) = own, shared
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
        """``(state, arrays, seeds, stop) -> (state, metrics)``, compiled; it donates the state.

        Trains to step ``stop``, at most the epoch's end; seeds that are at ``stop`` or further stay
        where they are. `place_seeds` returns ``seeds``. The metrics "loss" and "accuracy" are
        float32 ``[num_seeds, steps_per_epoch]``, filled in at the positions of the steps taken.
        """
        whole, by_seed = replicated(self.mesh), self._by_seed

        def train(state, arrays, seeds, stop):
            return self._of_each_seed(self._steps)((state, seeds), (arrays, stop))

        return jax.jit(
            train,
            in_shardings=(by_seed, whole, by_seed, whole),
            out_shardings=(by_seed, whole),
            donate_argnums=0,
        )

    @cached_property
    def evaluate(self):
        """``(variables, images, labels, mean, std) -> (loss sums, numbers correct)``, compiled.

        ``variables`` are stacked over seeds; `evaluation_arrays` returns the rest. Both results
        are ``[num_seeds, batches]``.
        """
        whole = replicated(self.mesh)
        split = NamedSharding(self.mesh, PartitionSpec(None, "data"))

        def of_seed(variables, shared):
            images, labels, mean, std = shared

            def of_batch(batch):
                losses, correct, _ = answers(self.model, variables, *batch, mean, std)
                return jnp.sum(losses), jnp.sum(correct, dtype=jnp.int32)

            return jax.lax.map(of_batch, (images, labels))

        def evaluate(variables, *shared):
            return self._of_each_seed(of_seed)(variables, shared)

        return jax.jit(
            evaluate,
            in_shardings=(self._by_seed, split, split, whole, whole),
            out_shardings=whole,
        )


def answers(model: nn.Module, variables: Any, images, labels, mean, std):
    """The loss, the correctness and the logits of each image of a batch. Traceable.

    Labels of -1 fill up a last batch: their loss is 0, and none of them is correct.
    """
    logits: Any = model.apply(variables, augment.normalize(images, mean, std))
    counts = labels >= 0
    losses = cross_entropy(logits, jnp.maximum(labels, 0))
    correct = is_correct(logits, labels) & counts
    return jnp.where(counts, losses, 0), correct, logits


def evaluation_arrays(split: Split, batch_size: int, mean, std, mesh) -> tuple[jax.Array, ...]:
    """Puts a split on the devices in whole batches, the last one filled up with labels of -1.

    Returns:
      Images uint8 ``[batches, batch_size, H, W, C]`` and labels int32 ``[batches, batch_size]``,
      each batch split over the mesh's "data" axis; ``mean`` and ``std``, float32 ``[C]``.
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
    """The mean "loss" and "accuracy" (0 to 1) of ``count`` examples, from the sums over them."""
    losses, correct = (np.asarray(array, np.float64) for array in sums)
    return {"loss": float(losses.sum() / count), "accuracy": float(correct.sum() / count)}
