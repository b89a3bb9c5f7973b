"""bfloat16 computes; parameters, statistics and the loss stay float32, and training agrees."""

import jax
import numpy as np
import pytest

from rir_jax.data.pipeline import device_arrays
from rir_jax.training import setup as setups
from tests.training.tiny import tiny_config

pytestmark = pytest.mark.slow

STEPS = 200


def _losses(compute_dtype):
    """Of each step of a run that is far from done at its end: a small rate, many augmentations."""
    config = tiny_config(optimizer__learning_rate=0.01, train__epochs=40, augment__crop_padding=2)
    config.schedule.milestones = (40,)
    config.compute_dtype = compute_dtype
    setup = setups.build(config)
    engine = setup.engine
    arrays = device_arrays(setup.dataset, engine.mesh)
    state, losses = engine.stack(engine.init(0)), []
    per_epoch = engine.batches.steps_per_epoch
    for start in range(0, STEPS, per_epoch):
        stop = min(start + per_epoch, STEPS)
        state, metrics = engine.train(state, arrays, np.zeros(1, np.uint32), np.int32(stop))
        losses += np.asarray(metrics["loss"])[0, : stop - start].tolist()
    return state, losses


def test_bfloat16_trains_as_float32_does():
    _, exact = _losses("float32")
    state, rounded = _losses("bfloat16")
    expected, found = np.mean(exact[-50:]), np.mean(rounded[-50:])
    assert expected > 0.5, "a task that is not done"
    assert expected < 0.9 * np.mean(exact[:10]), "and that is being learnt"
    assert found == pytest.approx(expected, rel=0.02)
    assert rounded != exact
    types = {leaf.dtype.name for leaf in jax.tree.leaves(state)}
    assert types == {"float32", "int32"}
