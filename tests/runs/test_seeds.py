"""Several seeds of one config, one after another and at once, are the runs of each alone."""

import json
import shutil

import chex
import numpy as np
import pytest

from rir_jax import config as configs
from rir_jax.data.pipeline import device_arrays
from rir_jax.devices.mesh import create_mesh
from rir_jax.errors import InputError, RunError
from rir_jax.loop import train_and_evaluate
from rir_jax.runs import member, run
from rir_jax.runs.pace import Pace
from rir_jax.training.engine import Engine
from rir_jax.training.setup import build
from tools.harness import differences, state_of, steps_of, tiny_config

pytestmark = pytest.mark.slow

SEEDS = ("seed_0", "seed_1", "seed_2")


def _config(at_once):
    return tiny_config(
        train__epochs=2, num_seeds=3, mesh__seed=at_once, mesh__data=1, checkpoint__keep=3
    )


@pytest.fixture(autouse=True)
def no_pictures(monkeypatch):
    monkeypatch.setattr(member, "draw_curves", lambda *_, **__: b"no picture here, for speed")


@pytest.fixture(scope="module")
def apart(tmp_path_factory):
    """One after another, which is how a run of one seed is run."""
    workdir = tmp_path_factory.mktemp("apart") / "run"
    train_and_evaluate(_config(at_once=1), workdir)
    return workdir


@pytest.fixture
def stop_after(monkeypatch):
    """``stop_after(calls)`` makes what is run from then on stop after some calls."""

    def of(calls):
        heard, hear = [], Pace.hear

        def and_stop(self, answers):
            hear(self, answers)
            heard.append(None)
            if len(heard) == calls:
                self.reason = "the test says so"

        monkeypatch.setattr(Pace, "steps", lambda self, left: min(left, 4))
        monkeypatch.setattr(Pace, "hear", and_stop)

    return of


def test_a_stop_in_the_second_seed_is_resumed_there(apart, tmp_path, stop_after, monkeypatch):
    config, workdir = _config(at_once=1), tmp_path / "run"
    stop_after(15)  # 12 calls a seed
    assert train_and_evaluate(config, workdir) is None
    assert (workdir / "seed_0/summary.json").exists()
    assert not (workdir / "seed_1/summary.json").exists()
    monkeypatch.undo()
    before = (workdir / "seed_0/summary.json").stat().st_mtime_ns
    summary = train_and_evaluate(config, workdir)
    assert before == (workdir / "seed_0/summary.json").stat().st_mtime_ns
    assert json.loads((workdir / "summary.json").read_text()) == summary
    for seed in SEEDS:
        assert differences(apart / seed, workdir / seed) == []
    assert configs.from_flat(json.loads((workdir / "config.json").read_text())) == config


def test_at_once_on_groups_of_devices_they_are_the_same_bit_for_bit(
    apart, tmp_path, stop_after, monkeypatch
):
    """Stopped in the second epoch, where a seed lost its checkpoints but the first."""
    config, workdir = _config(at_once=2), tmp_path / "run"
    stop_after(8)
    assert train_and_evaluate(config, workdir) is None
    monkeypatch.undo()
    newest = [steps_of(workdir / seed)[0] for seed in SEEDS[:2]]
    assert 22 < newest[0] < 44
    assert newest[0] == newest[1]
    for step in (newest[1], 22):
        shutil.rmtree(workdir / "seed_1/checkpoints" / str(step))
    summary = train_and_evaluate(config, workdir)
    for seed in SEEDS:
        assert differences(apart / seed, workdir / seed) == []
    expected = json.loads((apart / "summary.json").read_text())
    assert summary["test_loss"] == expected["test_loss"]
    assert summary["test_accuracy_std"] == expected["test_accuracy_std"]


def test_a_seed_draws_its_own_weights_and_batches(apart):
    setup = build(_config(at_once=1))
    arrays = device_arrays(setup.dataset, setup.engine.mesh)
    for seed in (0, 1):
        own = np.array([seed], np.uint32)
        state = setup.engine.stack(setup.engine.init(seed))
        for stop in (22, 44):
            state, _ = setup.engine.train(state, arrays, own, np.int32(stop))
        [state] = setup.engine.unstack(state)
        chex.assert_trees_all_equal(state, state_of(apart / SEEDS[seed]), strict=True)


def test_it_is_one_program_and_names_the_seed_whose_loss_is_not_finite(tmp_path, monkeypatch):
    ends = []
    train_some, log_training = run.Run._train_some, member.Member.log_training

    def count(self, end):
        train_some(self, end)
        ends.append(end)

    def with_nan(self, step, losses, accuracies, rate):
        wrong = losses * np.nan if self.seed == 1 and step > 22 else losses
        log_training(self, step, wrong, accuracies, rate)

    monkeypatch.setattr(run.Run, "_train_some", count)
    monkeypatch.setattr(Engine, "_steps", chex.assert_max_traces(Engine._steps, n=1))
    monkeypatch.setattr(member.Member, "log_training", with_nan)
    monkeypatch.setattr(Pace, "steps", lambda self, left: min(left, 11))
    with pytest.raises(RunError, match=r"seed 1: the loss became nan at step 23"):
        train_and_evaluate(_config(at_once=2), tmp_path / "run")
    assert len(ends) == 3  # calls, each of two seeds
    assert steps_of(tmp_path / "run/seed_0")[0] == 22


def test_more_at_once_than_there_are_is_refused():
    with pytest.raises(InputError, match=r"mesh.seed is 4, seeds at once; allowed: up to"):
        configs.validate(_config(at_once=4))


@pytest.mark.parametrize(
    ("batch_size", "data", "num_seeds", "shape"),
    [
        (64, None, 1, (1, 8)),
        (500, None, 1, (1, 5)),
        (64, None, 2, (2, 4)),
        (500, None, 2, (2, 4)),
        (64, 2, 4, (4, 2)),
        (64, 8, 4, (1, 8)),
        (64, 3, 12, None),
        (64, None, 12, (6, 1)),
    ],
)
def test_seeds_have_groups_of_devices(batch_size, data, num_seeds, shape):
    if shape is None:
        with pytest.raises(InputError, match=r"allowed: a multiple of mesh\.data, 3"):
            create_mesh(batch_size, data, num_seeds=num_seeds)
    else:
        mesh = create_mesh(batch_size, data, num_seeds=num_seeds)
        assert (mesh.shape["seed"], mesh.shape["data"]) == shape
