"""The cost of a table, before it is run: parameters, FLOPs, and time on this machine."""

import functools
import time
from typing import Any

import jax
import ml_collections
import numpy as np
import optax

from experiments.table import Row, Table
from rir_jax.analysis.layers import layers_of
from rir_jax.training.setup import build_model
from rir_jax.training.step import create_train_state, train_step

_BATCH, _STEPS = 32, 3
_OPTIMIZER = optax.sgd(0.1, momentum=0.9)  # costs as much as a row's own
# Number of training images, their shape and number of classes, as a plan needs no data.
_KNOWN = {
    "cifar10": (50_000, (32, 32, 3), 10),
    "cifar100": (50_000, (32, 32, 3), 100),
    "svhn_cropped": (73_257, (32, 32, 3), 10),
    "digits": (1442, (8, 8, 1), 10),
}


def plan(table: Table, seeds: int) -> list[dict[str, Any]]:
    """The cost of each row. Needs no data set.

    The time is estimated from a few steps of the cheapest row at a small batch, and from the
    rows' FLOPs: larger batches are usually faster, and evaluation comes on top.

    Returns:
      For each row: "model", "parameters", "gflops_per_image" (of a training step), "images"
      (trained on, over all seeds), "images_per_second" and "hours" on this device.
    """
    costs = functools.cache(_costs)  # many rows of a search have the same network
    rows, networks = [], []
    for row in table.rows:
        config = table.config(row)
        size, shape, classes = _KNOWN.get(config.dataset.name, _KNOWN["cifar10"])
        network = build_model(config, classes), shape
        rows.append(_row(row, config, size, seeds, costs(*network)))
        networks.append(network)
    cheapest = min(range(len(rows)), key=lambda number: rows[number]["gflops_per_image"])
    gflops_per_second = rows[cheapest]["gflops_per_image"] * _images_per_second(*networks[cheapest])
    for planned in rows:
        rate = gflops_per_second / planned["gflops_per_image"]
        planned["images_per_second"] = round(rate, 1)
        planned["hours"] = round(planned["images"] / rate / 3600, 3)
    return rows


def work(config: ml_collections.ConfigDict) -> float:
    """The FLOPs of a config's training, to compare rows of one data set with each other."""
    size, shape, classes = _KNOWN.get(config.dataset.name, _KNOWN["cifar10"])
    _, flops = _costs(build_model(config, classes), shape)
    return flops * config.train.epochs * (config.dataset.num_train or size)


def _row(row: Row, config, size, seeds, costs):
    parameters, flops = costs
    size = min(size, config.dataset.num_train or size)
    size -= round(size * config.dataset.validation_fraction)
    whole_batches = size // config.train.batch_size * config.train.batch_size
    return {
        "model": row.label,
        "parameters": parameters,
        "gflops_per_image": round(flops / 1e9, 6),
        "images": whole_batches * config.train.epochs * seeds,
    }


def _costs(model, shape):
    """The number of parameters, and the FLOPs of training on an image.

    A multiplication with its addition counts as two. They are needed three times: for the outputs,
    for the gradients of the kernels and, except in the first layer, for those of the inputs.
    """
    layers = layers_of(model, shape)
    flops = 6 * sum(layer.macs for layer in layers) - 2 * layers[0].macs
    return sum(layer.parameters for layer in layers), flops


def _images_per_second(model, shape):
    def step(state, images, labels):
        return train_step(model, _OPTIMIZER, state, images, labels)

    state = jax.jit(lambda: create_train_state(model, _OPTIMIZER, 0, shape))()
    images, labels = np.zeros((_BATCH, *shape), np.float32), np.zeros(_BATCH, np.int32)
    compiled = jax.jit(step).lower(state, images, labels).compile()
    state, _ = jax.block_until_ready(compiled(state, images, labels))
    begin = time.perf_counter()
    for _ in range(_STEPS):
        state, _ = compiled(state, images, labels)
    jax.block_until_ready(state)
    return _BATCH * _STEPS / (time.perf_counter() - begin)
