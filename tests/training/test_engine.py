"""The compiled programs: calls, devices, evaluation."""

import dataclasses

import chex
import jax
import numpy as np
import pytest

from rir_jax.data.pipeline import device_arrays
from rir_jax.training import engine as engines
from rir_jax.training import setup as setups
from rir_jax.training.objective import cross_entropy
from tests.training.tiny import tiny_config

SEED = np.uint32(0)
SEEDS = np.array([0], np.uint32)


class Ready:
    """An engine with a fresh state and its data on some devices."""

    def __init__(self, devices):
        self.setup = setups.build(tiny_config(mesh__data=devices))
        self.engine = self.setup.engine
        # A second trace would be a second compilation.
        vars(self.engine)["_steps"] = chex.assert_max_traces(self.engine._steps, n=1)
        self.arrays = device_arrays(self.setup.dataset, self.engine.mesh)

    def train(self, *stops):
        """The state after training to some steps, and the metrics of the last call."""
        state = self.engine.stack(self.engine.init(SEED))
        for stop in stops:
            state, metrics = self.engine.train(state, self.arrays, SEEDS, np.int32(stop))
        [state] = self.engine.unstack(state)
        return jax.device_get((state, {name: of_seeds[0] for name, of_seeds in metrics.items()}))

    def evaluate(self, state, batch_size):
        dataset, mesh = self.setup.dataset, self.engine.mesh
        arrays = engines.evaluation_arrays(
            dataset.held_out, batch_size, dataset.mean, dataset.std, mesh
        )
        sums = self.engine.evaluate(self.engine.stack(state).variables, *arrays)
        return engines.evaluation_result(sums, len(dataset.held_out))


@pytest.fixture(scope="module")
def one():
    return Ready(1)


@pytest.fixture(scope="module")
def eight():
    return Ready(8)


@pytest.fixture(scope="module")
def trained(one):
    return one.train(6)


def test_how_a_run_is_cut_into_calls_changes_no_bit(one, trained):
    """One compiled program, whatever the number of steps; the same bits."""
    state, metrics = one.train(1, 4, 6)
    chex.assert_trees_all_equal(state, trained[0], strict=True)
    np.testing.assert_array_equal(metrics["loss"][4:6], trained[1]["loss"][4:6])


def test_a_call_fills_in_the_metrics_of_its_steps(trained):
    state, metrics = trained
    assert state.step == 6
    assert metrics["loss"].shape == (11,)
    assert (metrics["loss"][:6] > 0).all()
    assert (metrics["loss"][6:] == 0).all()


def test_nothing_is_sent_to_the_host_within_a_call(one):
    state = one.engine.stack(one.engine.init(SEED))
    lowered = one.engine.train.lower(state, one.arrays, SEEDS, np.int32(6))
    text = lowered.compile().as_text()
    assert "while(" in text
    for transfer in ("infeed", "outfeed", "send(", "recv(", "host_callback", "io_callback"):
        assert transfer not in text


@pytest.mark.slow
def test_eight_devices_train_as_one_does(one, eight, trained):
    state, metrics = eight.train(6)
    np.testing.assert_allclose(metrics["loss"], trained[1]["loss"], rtol=1e-4)
    chex.assert_trees_all_close(state.batch_stats, trained[0].batch_stats, rtol=1e-3, atol=1e-5)


@pytest.mark.slow
def test_seeds_on_one_device_share_its_kernels_to_float_tolerance(one, trained):
    """One that has come as far as it should stays there."""
    two = dataclasses.replace(one.engine, num_seeds=2)
    second = one.engine.init(np.uint32(1))
    state = two.stack(jax.tree.map(np.asarray, trained[0]), second)
    state, metrics = two.train(state, one.arrays, np.array([0, 1], np.uint32), np.int32(3))
    first, second = jax.device_get(two.unstack(state))
    chex.assert_trees_all_equal(first, trained[0], strict=True)
    assert not metrics["loss"][0].any()
    assert second.step == 3
    alone = one.engine.stack(one.engine.init(np.uint32(1)))
    alone, expected = one.engine.train(alone, one.arrays, SEEDS + np.uint32(1), np.int32(3))
    np.testing.assert_allclose(metrics["loss"][1], expected["loss"][0], rtol=1e-4)


@pytest.mark.slow
def test_statistics_are_over_the_global_batch(eight):
    """The stem's running variance, after a step on eight devices, is that of the whole batch.

    The mean of the eight devices' own variances, which is what statistics by device would give,
    is ten tolerances away and more.
    """
    batches, mesh = eight.engine.batches, eight.engine.mesh
    first = eight.engine.init(SEED)
    images, _ = jax.jit(
        lambda: batches.batch(eight.arrays, batches.permutation(SEED, 0), SEED, 0)
    )()
    assert images.sharding.shard_shape(images.shape)[0] == 128 // 8
    assert len(mesh.devices.ravel()) == 8
    stem = jax.lax.conv_general_dilated(
        np.asarray(images),
        np.asarray(first.params["stem_conv"]["kernel"]),
        (1, 1),
        ((1, 1), (1, 1)),
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
    )
    stem = np.asarray(stem, np.float64)
    state, _ = eight.train(1)
    found = state.batch_stats["stem_norm"]["var"]
    of_all = 0.9 + 0.1 * stem.var((0, 1, 2))
    by_device = 0.9 + 0.1 * stem.reshape(8, 16, 8, 8, -1).var((1, 2, 3)).mean(0)
    np.testing.assert_allclose(found, of_all, rtol=1e-5)
    assert np.abs(by_device / of_all - 1).max() > 1e-4


@pytest.mark.parametrize("batch_size", [100, 355, 1000])
def test_evaluation_counts_every_image_once(one, eight, trained, batch_size):
    """The last batch is neither dropped nor counted twice, whatever its size."""
    state, dataset = trained[0], one.setup.dataset
    images = (dataset.held_out.images - dataset.mean) / dataset.std
    apply = jax.jit(one.engine.model.apply)
    logits = np.asarray(apply(state.variables, images.astype(np.float32)))
    accuracy = np.mean(np.argmax(logits, -1) == dataset.held_out.labels)
    loss = np.mean(np.asarray(cross_entropy(logits, dataset.held_out.labels)))
    for ready in (one, eight) if batch_size == 100 else (one,):
        result = ready.evaluate(state, batch_size)
        assert result["accuracy"] == pytest.approx(accuracy, abs=1e-12)
        assert result["loss"] == pytest.approx(loss, rel=1e-5)
