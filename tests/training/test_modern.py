"""What a recipe of today adds: mixed batches, smoothed labels, an average of the weights."""

import chex
import jax.numpy as jnp
import numpy as np
import pytest

import rir_jax
from rir_jax import config as configs
from rir_jax.errors import InputError
from rir_jax.loop import train_and_evaluate
from rir_jax.runs.pace import Pace
from rir_jax.trained.evaluation import evaluate
from rir_jax.training.setup import build
from rir_jax.training.step import moving_average
from tools.harness import differences, records_of, state_of, tiny_config

pytestmark = pytest.mark.slow

MODERN = {
    "schedule__kind": "cosine",
    "schedule__warmup_epochs": 1,
    "optimizer__nesterov": True,
    "train__label_smoothing": 0.1,
    "augment__cutmix": 1.0,
    "train__average_decay": 0.9,
    "mesh__data": 1,
}


@pytest.fixture(scope="module")
def config():
    return tiny_config(train__epochs=3, **MODERN)


@pytest.fixture(scope="module")
def finished(config, tmp_path_factory):
    workdir = tmp_path_factory.mktemp("modern") / "run"
    return workdir, train_and_evaluate(config, workdir)


def test_it_is_resumed_bit_for_bit(config, finished, tmp_path, monkeypatch):
    workdir, _ = finished

    def stop(self, answers):
        self.reason = "the test says so"

    for calls in (1, 2):
        monkeypatch.setattr(Pace, "steps", lambda self, left: min(left, 13))
        monkeypatch.setattr(Pace, "hear", stop)
        assert train_and_evaluate(config, tmp_path / "run") is None, calls
    monkeypatch.undo()
    train_and_evaluate(config, tmp_path / "run")
    assert differences(workdir, tmp_path / "run") == []


def test_the_average_is_what_is_evaluated_and_loaded(finished):
    workdir, summary = finished
    state = state_of(workdir)
    variables = rir_jax.load(workdir)[1]
    chex.assert_trees_all_equal(variables, state.average, strict=True)
    assert not np.array_equal(
        variables["params"]["stem_conv"]["kernel"], state.params["stem_conv"]["kernel"]
    )
    assert evaluate(workdir)["loss"] == pytest.approx(summary["test_loss"], rel=1e-6)


def test_the_rate_goes_up_and_down_once(finished):
    workdir, _ = finished
    rates = [r["learning_rate"] for r in records_of(workdir) if r["split"] == "train"]
    peak = rates.index(max(rates))
    assert 0 < peak < len(rates) - 1
    assert rates[peak:] == sorted(rates[peak:], reverse=True)
    assert rates[-1] < 0.01 * rates[peak]


def test_an_average_starts_near_the_variables_and_ends_at_its_decay():
    average, variables = {"w": jnp.zeros(2)}, {"w": jnp.ones(2)}
    for step, expected in ((0, 0.9), (8, 0.5), (10**6, 0.25)):
        found = moving_average(average, variables, jnp.int32(step), 0.75)
        np.testing.assert_allclose(found["w"], expected, rtol=1e-6)


def test_the_default_keeps_none():
    engine = build(tiny_config(mesh__data=1)).engine
    assert engine.abstract_state().average is None
    assert not configs.default_config().train.average_decay


@pytest.mark.parametrize(("kind", "warmup"), [("steps", 1), ("cosine", 2)])
def test_a_warm_up_that_does_not_fit_is_refused(kind, warmup):
    config = tiny_config(train__epochs=2, schedule__kind=kind, schedule__warmup_epochs=warmup)
    with pytest.raises(InputError, match=rf"schedule.warmup_epochs is {warmup} with schedule.kind"):
        configs.validate(config)
