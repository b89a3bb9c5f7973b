"""Training under what JAX's users switch on: no error, and the same numbers."""

import jax
import numpy as np
import pytest

from rir_jax.data.pipeline import device_arrays
from rir_jax.training import engine as engines
from rir_jax.training import setup as setups
from tests.training.tiny import tiny_config

pytestmark = pytest.mark.slow

SEEDS = np.array([0], np.uint32)
SWITCHES = {
    "rank promotion raises": lambda: jax.numpy_rank_promotion("raise"),
    "strict dtype promotion": lambda: jax.numpy_dtype_promotion("strict"),
    "64 bits": lambda: jax.enable_x64(True),
    "nan is an error": lambda: jax.debug_nans(True),
    "another generator": lambda: jax.default_prng_impl("rbg"),
}
PAPER = {"optimizer__decay_identity": True, "augment__mixup": 0.2}
MODERN = {
    "model__head": "conv",
    "model__use_bias": True,
    "model__outer_shortcut": "pre_norm",
    "model__shortcut": "projection",
    "augment__mixup": 0.2,
    "augment__cutmix": 1.0,
    "train__label_smoothing": 0.1,
    "train__average_decay": 0.99,
    "optimizer__nesterov": True,
    "schedule__kind": "cosine",
    "schedule__warmup_epochs": 1,
}


def _results(fields):
    """Metrics and variables after three steps, and an evaluation of them."""
    config = tiny_config(
        model__widths=(4,),
        model__blocks=(1,),
        dataset__num_train=400,
        dataset__num_test=90,
        **fields,
    )
    setup = setups.build(config)
    engine, data = setup.engine, setup.dataset
    arrays = device_arrays(data, engine.mesh)
    state = engine.stack(engine.init(0))
    state, metrics = engine.train(state, arrays, SEEDS, np.int32(3))
    held_out = engines.evaluation_arrays(data.held_out, 40, data.mean, data.std, engine.mesh)
    evaluated = engines.evaluation_result(engine.evaluate(state.result, *held_out), 90)
    return jax.device_get((metrics, state, evaluated))


@pytest.fixture(scope="module", params=[PAPER, MODERN], ids=["paper", "modern"])
def usual(request):
    with jax.numpy_rank_promotion("allow"):
        return request.param, _results(request.param)


@pytest.mark.parametrize("switch", SWITCHES)
def test_it_changes_nothing_but_rounding(switch, usual):
    fields, (metrics, state, evaluated) = usual
    with SWITCHES[switch]():
        found = _results(fields)
    exact = switch != "64 bits"
    for a, b in zip(*map(jax.tree.leaves, (found, (metrics, state, evaluated))), strict=True):
        assert np.asarray(a).dtype == np.asarray(b).dtype
        np.testing.assert_allclose(a, b, rtol=0 if exact else 1e-4, atol=0 if exact else 1e-5)
