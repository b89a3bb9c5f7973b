"""Our network against what the real pytorchcv recorded (see tests/peers/record.py)."""

import jax
import jax.numpy as jnp
import numpy as np
import optax

from rir_jax import interop
from rir_jax.training import objective
from rir_jax.training.step import TrainState, train_step
from tests.proofs import distance

LEARNING_RATE, MOMENTUM, WEIGHT_DECAY = 0.1, 0.9, 1e-2
"""Of the step of SGD that both take."""


def state_dict_of(record, when):
    """The state dict "before" or "after" the step."""
    prefix = f"{when}/"
    return {k.removeprefix(prefix): v for k, v in record.items() if k.startswith(prefix)}


def compare(model, record, compiler_options=None) -> dict[str, float]:
    """How far we are from the peer, relative to the largest value of each array.

    Args:
      model: ours, in the precision to compare in.
      record: what `tests.peers.record.record` returns.
      compiler_options: of the two programs.

    Returns:
      "inference_logits", "training_logits", and after one step of SGD "params" and
      "batch_stats"; "updates" is for how much each of the parameters has changed.
    """
    dtype = model.param_dtype
    before, after = (
        jax.tree.map(
            lambda leaf: jnp.asarray(leaf, dtype),
            interop.from_pytorchcv(state_dict_of(record, when), model),
        )
        for when in ("before", "after")
    )
    images = jnp.asarray(record["images"], dtype)
    optimizer = objective.sgd(optax.constant_schedule(LEARNING_RATE), MOMENTUM, WEIGHT_DECAY)

    def step(variables):
        params, batch_stats = variables["params"], variables["batch_stats"]
        state = TrainState(0, params, batch_stats, optimizer.init(params))
        state, _ = train_step(model, optimizer, state, images, record["labels"])
        logits, _ = model.apply(variables, images, train=True, mutable=["batch_stats"])
        return state, logits

    inference = jax.jit(model.apply, compiler_options=compiler_options)(before, images)
    state, training = jax.jit(step, compiler_options=compiler_options)(before)
    expected_stats = with_biased_variance(before["batch_stats"], after["batch_stats"], images.shape)
    changes = [
        jax.tree.map(jnp.subtract, params, before["params"])
        for params in (state.params, after["params"])
    ]
    return {
        "inference_logits": distance(inference, record["inference_logits"]),
        "training_logits": distance(training, record["training_logits"]),
        "params": distance(state.params, after["params"]),
        "updates": distance(*changes),
        "batch_stats": distance(state.batch_stats, expected_stats),
    }


def with_biased_variance(before, after, images_shape, momentum=0.9):
    """PyTorch's running statistics after a step, had it used the biased variance there.

    It normalizes with the biased variance of the batch, as we do, but moves its running variance
    towards the unbiased one, n / (n - 1) times as large, n being batch times height times width.
    """
    stages = max(int(name[5]) for name in before if name.startswith("stage"))

    def convert(path, old, new):
        if path[-1].key != "var":
            return new
        name = path[0].key
        stage = {"stem_norm": 1, "head_norm": stages}.get(name) or int(name[5])
        n = images_shape[0] * np.prod([size // 2 ** (stage - 1) for size in images_shape[1:3]])
        return momentum * old + (new - momentum * old) * (n - 1) / n

    return jax.tree_util.tree_map_with_path(convert, before, after)
