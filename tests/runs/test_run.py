"""Whole runs in folders: what they leave, how they resume, what they refuse."""

import json

import chex
import numpy as np
import pytest

import rir_jax
from rir_jax import loop
from rir_jax.runs.metrics import read_metrics
from rir_jax.runs.workdir import Workdir
from rir_jax.trained.evaluation import evaluate
from tests.training.tiny import tiny_config


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    workdir = tmp_path_factory.mktemp("runs") / "whole"
    return workdir, rir_jax.train_and_evaluate(tiny_config(), workdir)


def _records(workdir):
    """What was logged, without the speed, which differs."""
    records = read_metrics(Workdir(workdir))
    return [{k: v for k, v in r.items() if k != "images_per_second"} for r in records]


def _states_equal(one, other):
    loaded = [rir_jax.load(workdir)[1] for workdir in (one, other)]
    chex.assert_trees_all_equal(*loaded, strict=True)


def test_a_run_leaves_what_the_design_lists(finished):
    workdir, summary = finished
    names = {path.name for path in workdir.iterdir()}
    assert names >= {
        "config.json",
        "metrics.jsonl",
        "checkpoints",
        "tensorboard",
        "curves.png",
        "summary.json",
    }
    assert json.loads((workdir / "summary.json").read_text()) == summary
    assert set(summary) >= {
        "test_accuracy",
        "test_loss",
        "steps",
        "epochs",
        "images_per_second",
        "seconds",
        "num_params",
        "device",
        "model",
        "dataset",
        "seed",
    }
    assert (summary["steps"], summary["epochs"], summary["model"]) == (22, 2, "rir32")
    assert (workdir / "curves.png").read_bytes().startswith(b"\x89PNG")
    assert list((workdir / "tensorboard").glob("events.*"))


def test_every_step_is_logged_once_and_the_rate_drops(finished):
    workdir, _ = finished
    records = read_metrics(Workdir(workdir))
    train = [record for record in records if record["split"] == "train"]
    assert [record["step"] for record in train] == [4, 8, 11, 12, 16, 20, 22]
    assert sum(record["steps"] for record in train) == 22
    rates = [round(record["learning_rate"], 6) for record in train]
    assert rates == [0.05] * 3 + [0.005] * 4
    test = [(r["step"], r["epoch"]) for r in records if r["split"] == "test"]
    assert test == [(11, 1), (22, 2)]


def test_a_finished_run_is_left_alone(finished):
    workdir, summary = finished
    before = {path: path.stat().st_mtime_ns for path in workdir.rglob("*")}
    assert rir_jax.train_and_evaluate(tiny_config(), workdir) == summary
    assert before == {path: path.stat().st_mtime_ns for path in workdir.rglob("*")}


def test_evaluate_finds_the_same_accuracy_and_loss(finished):
    workdir, summary = finished
    result = evaluate(workdir)
    assert result["accuracy"] == summary["test_accuracy"]
    assert result["loss"] == pytest.approx(summary["test_loss"], rel=1e-6)
    assert (result["num_examples"], result["split"], result["step"]) == (355, "test", 22)


@pytest.mark.parametrize("stops", [(1, 2, 4)])
def test_a_stopped_and_resumed_run_ends_with_the_same_bits(finished, tmp_path, monkeypatch, stops):
    """Stopped within the first epoch, at once again, and later: same parameters, same log."""
    whole, summary = finished
    workdir = tmp_path / "stopped"
    reached = []
    for stop_after in stops:
        asked = iter([None] * (stop_after - 1) + ["this test"])
        monkeypatch.setattr(loop.StopRequest, "reason", lambda self, asked=asked: next(asked))
        assert rir_jax.train_and_evaluate(tiny_config(), workdir) is None
        assert not (workdir / "summary.json").exists()
        reached.append(rir_jax.load(workdir)[2].step)
    assert 0 < reached[0] < reached[1] < reached[2] < 22
    monkeypatch.undo()
    resumed = rir_jax.train_and_evaluate(tiny_config(), workdir)
    assert resumed["test_loss"] == summary["test_loss"]
    _states_equal(whole, workdir)
    assert _records(whole) == _records(workdir)


def test_another_config_is_refused_and_the_difference_named(finished):
    workdir, _ = finished
    with pytest.raises(rir_jax.InputError, match=r"\(train.epochs was 2, now 1\); allowed"):
        rir_jax.train_and_evaluate(tiny_config(train__epochs=1), workdir)
    inert = tiny_config(checkpoint__keep=5, train__time_limit="9m", mesh__data=2)
    inert.eval.batch_size = 7
    assert rir_jax.train_and_evaluate(inert, workdir)["steps"] == 22


@pytest.mark.slow
def test_seeds_have_folders_and_a_summary_of_their_own(finished, tmp_path):
    _, alone = finished
    config = tiny_config()
    config.num_seeds = 2
    summary = rir_jax.train_and_evaluate(config, tmp_path / "seeds")
    each = [
        json.loads((tmp_path / "seeds" / f"seed_{seed}" / "summary.json").read_text())
        for seed in (0, 1)
    ]
    assert each[0]["test_loss"] == alone["test_loss"]
    assert each[1]["test_loss"] != alone["test_loss"]
    losses = [one["test_loss"] for one in each]
    assert summary["test_loss"] == pytest.approx(np.mean(losses))
    assert summary["test_loss_std"] == pytest.approx(np.std(losses, ddof=1))
    assert summary["num_seeds"] == 2


@pytest.mark.slow
def test_a_held_out_part_is_reported_in_place_of_the_test_split(tmp_path):
    config = tiny_config(dataset__validation_fraction=0.2, train__epochs=1)
    summary = rir_jax.train_and_evaluate(config, tmp_path / "held_out")
    assert "validation_accuracy" in summary
    assert "test_accuracy" not in summary
    assert evaluate(tmp_path / "held_out")["split"] == "validation"
