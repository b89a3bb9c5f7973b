"""What a table would cost, before it is run: parameters, FLOPs, and time on this machine."""

import functools
import time
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from experiments.table import Row, Table
from rir_jax.training.setup import build_model
from rir_jax.training.step import create_train_state, train_step

_BATCH, _STEPS = 8, 3
_OPTIMIZER = optax.sgd(0.1, momentum=0.9)  # as costly as a row's own
# Images in the training split, their shape and the classes, where a table is planned without data.
_KNOWN = {
    "cifar10": (50_000, (32, 32, 3), 10),
    "cifar100": (50_000, (32, 32, 3), 100),
    "svhn_cropped": (73_257, (32, 32, 3), 10),
    "digits": (1442, (8, 8, 1), 10),
}


def plan(table: Table, seeds: int, overrides: dict[str, Any]) -> list[dict[str, Any]]:
    """Costs of each row; needs no data set.

    The time is estimated from a few steps of the cheapest row at a small batch, and from the
    rows' FLOPs: larger batches are usually faster.

    Returns:
      For each row: "model", "parameters", "gflops_per_image" (of a training step),
      "images" (trained on, over all seeds) and "hours" on this device.
    """
    costs = functools.cache(_costs)  # many rows of a search have one network
    rows = [_row(table, row, seeds, overrides, costs) for row in table.rows]
    cheapest = min(rows, key=lambda row: row["gflops_per_image"])
    rate = _gflops_per_second(cheapest.pop("step"), cheapest["gflops_per_image"])
    for row in rows:
        row.pop("step", None)
        row["hours"] = round(row["images"] * row["gflops_per_image"] / rate / 3600, 3)
    return rows


def _row(table: Table, row: Row, seeds: int, overrides, costs):
    config = table.config(row, overrides)
    size, shape, classes = _KNOWN.get(config.dataset.name, _KNOWN["cifar10"])
    size = min(size, config.dataset.num_train or size)
    size -= round(size * config.dataset.validation_fraction)
    model = build_model(config, classes)
    lowered, parameters, flops = costs(model, shape)
    whole_batches = size // config.train.batch_size * config.train.batch_size
    return {
        "model": row.label,
        "parameters": parameters,
        "gflops_per_image": round(flops / _BATCH / 1e9, 4),
        "images": whole_batches * config.train.epochs * seeds,
        "step": (model, shape, lowered),
    }


def _costs(model, shape):
    """A training step, lowered; its parameters and FLOPs."""

    def step(state, images, labels):
        return train_step(model, _OPTIMIZER, state, images, labels)

    state = jax.eval_shape(lambda: create_train_state(model, _OPTIMIZER, 0, shape))
    images = jax.ShapeDtypeStruct((_BATCH, *shape), jnp.float32)
    labels = jax.ShapeDtypeStruct((_BATCH,), jnp.int32)
    lowered = jax.jit(step).lower(state, images, labels)
    parameters = sum(leaf.size for leaf in jax.tree.leaves(state.params))
    return lowered, parameters, lowered.cost_analysis()["flops"]


def _gflops_per_second(step, gflops_per_image):
    model, shape, lowered = step
    compiled = lowered.compile()
    state = jax.jit(lambda: create_train_state(model, _OPTIMIZER, 0, shape))()
    images, labels = np.zeros((_BATCH, *shape), np.float32), np.zeros(_BATCH, np.int32)
    state, _ = jax.block_until_ready(compiled(state, images, labels))
    begin = time.perf_counter()
    for _ in range(_STEPS):
        state, _ = compiled(state, images, labels)
    jax.block_until_ready(state)
    return gflops_per_image * _BATCH * _STEPS / (time.perf_counter() - begin)
