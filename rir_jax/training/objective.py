"""The objective and its optimizer: cross-entropy, the L2 penalty on W, SGD with schedules.

The objective is ``cross_entropy + (weight_decay / 2) * sum(W ** 2)`` over the stored kernels of
convolutions and dense layers. A generalized layer stores W without the partial identity, so this
is the paper's penalty with the identity taken off. Its gradient is ``weight_decay * W``, which
the optimizer adds; the loss that is logged is the cross-entropy alone.
"""

from collections.abc import Callable, Collection, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from rir_jax.models.network import part_of

KERNELS = ("kernel", "projection")
"""Names of the penalized parameters; biases and batch norms are not penalized."""


def cross_entropy(logits: jax.Array, labels: jax.Array, smoothing: float = 0.0) -> jax.Array:
    """The cross-entropy of each example, ``[N]``.

    Args:
      logits: the network's outputs, ``[N, classes]``.
      labels: the true classes, int ``[N]``, or probabilities ``[N, classes]``.
      smoothing: the label smoothing, the part of the probability spread over all classes.

    Examples:
      >>> logits = jnp.array([[2.0, 0.0]])
      >>> [round(float(cross_entropy(logits, jnp.array([0]), s)[0]), 4) for s in (0.0, 0.1)]
      [0.1269, 0.2269]
    """
    if labels.ndim == 1 and not smoothing:
        return optax.softmax_cross_entropy_with_integer_labels(logits, labels)
    if labels.ndim == 1:
        labels = jax.nn.one_hot(labels, logits.shape[-1], dtype=logits.dtype)
    return optax.softmax_cross_entropy(logits, optax.smooth_labels(labels, smoothing))


def penalized(params: Any) -> Any:
    """A tree of booleans: whether the L2 penalty applies to each parameter."""
    return jax.tree_util.tree_map_with_path(lambda path, _: path[-1].key in KERNELS, params)


def l2_penalty(params: Any, weight_decay: float) -> jax.Array:
    """``(weight_decay / 2) * sum(W ** 2)`` over the penalized parameters, a scalar.

    Examples:
      >>> float(l2_penalty({"conv": {"kernel": jnp.ones(3), "bias": jnp.ones(3)}}, 0.2))
      0.30000001192092896
    """
    squares = jax.tree.map(
        lambda w, on: jnp.sum(w**2) if on else jnp.zeros(()), params, penalized(params)
    )
    return 0.5 * weight_decay * sum(jax.tree.leaves(squares), jnp.zeros(()))


def learning_rate_schedule(
    learning_rate: float, milestones: Sequence[int], factor: float, steps_per_epoch: int
) -> Callable[[jax.Array], jax.Array]:
    """The learning rate by steps taken: ``factor`` multiplies it after each milestone's epoch.

    Examples:
      >>> schedule = learning_rate_schedule(0.1, (42, 62), 0.1, steps_per_epoch=100)
      >>> [round(float(schedule(step)), 6) for step in (0, 4199, 4200, 6199, 6200)]
      [0.1, 0.1, 0.01, 0.01, 0.001]
    """

    def schedule(step):
        rate = np.float32(learning_rate)
        for epoch in sorted(milestones):
            rate = _library(step).where(step < epoch * steps_per_epoch, rate, factor * rate)
        return rate

    return schedule


def cosine_schedule(
    learning_rate: float, total_steps: int, warmup_steps: int = 0
) -> Callable[[jax.Array], jax.Array]:
    """The learning rate by steps taken: it rises in a line, then falls along a cosine to 0.

    Examples:
      >>> schedule = cosine_schedule(0.1, total_steps=100, warmup_steps=20)
      >>> [round(float(schedule(step)), 4) for step in (0, 10, 20, 60, 99)]
      [0.0, 0.05, 0.1, 0.05, 0.0]
    """

    def schedule(step):
        xp = _library(step)
        done = (step - warmup_steps) / (total_steps - warmup_steps)
        down = (1 + xp.cos(np.pi * done)) / 2
        return learning_rate * xp.where(step < warmup_steps, step / max(1, warmup_steps), down)

    return schedule


def _library(step):
    """NumPy for a step on the host, so that its rate is computed there, without the devices."""
    return jnp if isinstance(step, jax.Array) else np


def sgd(
    schedule,
    momentum: float,
    weight_decay: float,
    shortcuts: Callable[[Any], Any] | None = None,
    nesterov: bool = False,
    frozen: Collection[str] = (),
) -> optax.GradientTransformation:
    """SGD with momentum on cross-entropy plus the L2 penalty (paper, section 4).

    Args:
      schedule: the learning rate, as a function of the number of steps taken.
      momentum: the part of the last update's direction that is kept.
      weight_decay: the factor of the L2 penalty.
      shortcuts: for an ablation only: the function `rir_jax.models.network.shortcuts`, which
        returns the identity that is added to each parameter; it is then decayed, too.
      nesterov: whether to use Nesterov's momentum.
      frozen: parts of the network ("stem", "stage1", ...) that are neither trained nor decayed.
    """
    penalty = optax.add_decayed_weights(weight_decay, mask=penalized)
    if shortcuts is not None:
        penalty = optax.chain(penalty, _decay(weight_decay, shortcuts))
    if frozen:
        penalty = optax.chain(penalty, _hold(frozen))
    return optax.chain(penalty, optax.sgd(schedule, momentum, nesterov))


def _hold(frozen):
    def zero(path, update):
        return jnp.zeros_like(update) if part_of(path[0].key) in frozen else update

    return optax.stateless(lambda updates, _: jax.tree_util.tree_map_with_path(zero, updates))


def _decay(weight_decay, shortcuts):
    def add(updates, params):
        return jax.tree.map(lambda u, s: u + weight_decay * s, updates, shortcuts(params))

    return optax.stateless(add)
