"""What changes between two calls of one run, or fails beside it: harmless, or refused."""

import dataclasses
import json
import logging

import chex
import jax
import numpy as np
import pytest

import rir_jax
from rir_jax import config as configs
from rir_jax import loop
from rir_jax.data import dataset, sources
from rir_jax.errors import InputError, RunError
from rir_jax.pictures import attempt
from rir_jax.runs import member
from rir_jax.runs.metrics import read_metrics
from rir_jax.runs.workdir import Workdir
from rir_jax.trained import evaluation
from rir_jax.trained.evaluation import evaluate
from rir_jax.training.engine import Engine
from tests.training.tiny import tiny_config
from tools import harness

pytestmark = pytest.mark.slow


@pytest.fixture
def stop_after(monkeypatch):
    """``stop_after(calls)`` ends the next run early; None lets it go on."""

    def stop(calls):
        asked = iter([None] * (calls - 1) + ["this test"]) if calls else iter(lambda: None, 0)
        monkeypatch.setattr(loop.StopRequest, "reason", lambda self: next(asked))

    return stop


def test_eval_batch_size_may_be_lowered_and_changes_no_parameter(tmp_path, stop_after):
    for name in ("as_it_was", "lowered"):
        stop_after(3)
        assert rir_jax.train_and_evaluate(tiny_config(), tmp_path / name) is None
    stop_after(None)
    summaries = [
        rir_jax.train_and_evaluate(tiny_config(), tmp_path / "as_it_was"),
        rir_jax.train_and_evaluate(tiny_config(eval__batch_size=7), tmp_path / "lowered"),
    ]
    states = [rir_jax.load(tmp_path / name)[1] for name in ("as_it_was", "lowered")]
    chex.assert_trees_all_equal(*states, strict=True)
    assert summaries[0]["test_accuracy"] == summaries[1]["test_accuracy"]
    assert summaries[0]["test_loss"] == pytest.approx(summaries[1]["test_loss"], rel=1e-6)


def _inverted(data):
    images = dataset.Split(255 - data.train.images, data.train.labels)
    return dataset.Dataset(images, data.held_out, data.class_names, data.name)


CHANGES = {
    "images": (_inverted, "its mean [177."),
    "fewer": (
        lambda data: dataclasses.replace(data, train=data.train.take(np.arange(1400))),
        "its num train images 1400, then 1442",
    ),
    "classes": (
        lambda data: dataclasses.replace(data, class_names=data.class_names[::-1]),
        "its class names ['9', '8'",
    ),
}


@pytest.mark.parametrize("change", CHANGES)
def test_other_data_of_the_same_name_are_told_apart(change):
    data = sources.load("digits")
    known = json.loads(json.dumps(data.described()))  # as a checkpoint keeps it
    data.check_same(known, "the run")
    data.check_same({"mean": np.float32(data.mean), "class_names": data.class_names}, "the run")
    make, message = CHANGES[change]
    with pytest.raises(InputError) as error:
        make(data).check_same(known, "the run")
    start = f"dataset 'digits' is not what the run was trained on: {message}"
    assert str(error.value).startswith(start)


def test_other_data_of_the_same_name_are_refused(tmp_path, stop_after, monkeypatch):
    """Such as another data_dir, which may change between calls, with another set in it."""
    stop_after(1)
    assert rir_jax.train_and_evaluate(tiny_config(), tmp_path) is None
    load = sources.load
    make, _ = CHANGES["classes"]
    monkeypatch.setattr(sources, "load", lambda *args, **fields: make(load(*args, **fields)))
    with pytest.raises(InputError, match=r"is not what the run in .* was trained on: its class na"):
        rir_jax.train_and_evaluate(tiny_config(), tmp_path)
    with pytest.raises(InputError, match=r"is not what the network in .* was trained on: its cl"):
        evaluate(tmp_path)


def test_another_default_generator_changes_nothing_and_other_numbers_are_refused(
    tmp_path, stop_after
):
    stop_after(None)
    rir_jax.train_and_evaluate(tiny_config(), tmp_path / "undisturbed")
    stop_after(2)
    assert rir_jax.train_and_evaluate(tiny_config(), tmp_path / "run") is None
    stop_after(None)
    message = r"random numbers with .*_partitionable True; with .*_part\w* False they differ"
    with jax.threefry_partitionable(False), pytest.raises(InputError, match=message):
        rir_jax.train_and_evaluate(tiny_config(), tmp_path / "run")
    with jax.default_prng_impl("rbg"):
        rir_jax.train_and_evaluate(tiny_config(), tmp_path / "run")
    states = [rir_jax.load(tmp_path / name)[1] for name in ("undisturbed", "run")]
    chex.assert_trees_all_equal(*states, strict=True)


@pytest.mark.parametrize(
    "fields",
    [{"num_train": 600, "validation_fraction": 0.2}, {"num_test": 100}],
    ids=["validation", "test"],
)
def test_evaluate_scores_the_very_images_of_the_summary(fields, tmp_path):
    config = tiny_config(train__epochs=1, **{f"dataset__{k}": v for k, v in fields.items()})
    summary = rir_jax.train_and_evaluate(config, tmp_path)
    result = evaluate(tmp_path, batch_size=64)
    expected = len(sources.load("digits", **fields).held_out)
    assert result["num_examples"] == expected < 125
    assert result["accuracy"] == summary[f"{result['split']}_accuracy"]


def _fail(*_, **__):
    raise ValueError("no font")


def test_a_picture_that_cannot_be_drawn_costs_no_figure(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(member, "draw_curves", _fail)
    monkeypatch.setattr(evaluation, "draw_confusion", _fail)
    monkeypatch.setattr(logging.getLogger("rir_jax"), "propagate", True)
    summary = rir_jax.train_and_evaluate(tiny_config(train__epochs=1), tmp_path)
    assert json.loads((tmp_path / "summary.json").read_text()) == summary
    assert evaluate(tmp_path, pictures=True)["accuracy"] == summary["test_accuracy"]
    said = [record.getMessage() for record in caplog.records if record.name == attempt.__name__]
    assert said == [
        "curves.png could not be drawn: no font",
        "confusion.png and mistakes.png could not be drawn: no font",
    ]


@pytest.mark.parametrize(
    ("program", "advice"),
    [("train", "a smaller train.batch_size or network, in a fresh w"), ("evaluate", "the same c")],
)
def test_what_ran_out_of_memory_is_named_and_the_advice_can_be_followed(
    program, advice, tmp_path, monkeypatch
):
    def exhausted(*_):
        raise RuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating 9 bytes")

    monkeypatch.setattr(Engine, program, exhausted)
    config = tiny_config(train__epochs=1)
    with pytest.raises(RunError, match=r"memory is too small for the (train|test) split") as error:
        rir_jax.train_and_evaluate(config, tmp_path)
    assert f"allocating 9 bytes; {advice}" in str(error.value)
    monkeypatch.undo()
    config.eval.batch_size = 9
    assert rir_jax.train_and_evaluate(config, tmp_path)["steps"] == 11
    assert [r["step"] for r in read_metrics(Workdir(tmp_path)) if r["split"] == "test"] == [11]


def test_a_finished_run_may_be_given_more_epochs(tmp_path):
    """To the bits of a run that had them from the start, a drop beyond the old end included."""
    short, long = tiny_config(train__epochs=1), tiny_config(train__epochs=3)
    for config in (short, long):
        config.schedule.milestones = (1, 2)
    rir_jax.train_and_evaluate(short, tmp_path / "given")
    assert Workdir(tmp_path / "given").summary()["epochs"] == 1
    for folder in ("given", "whole"):
        assert rir_jax.train_and_evaluate(long, tmp_path / folder)["epochs"] == 3
    assert harness.differences(tmp_path / "given", tmp_path / "whole") == []
    assert Workdir(tmp_path / "given").config().train.epochs == 3


def test_a_run_given_more_epochs_is_not_finished_until_it_has_them(tmp_path, stop_after):
    rir_jax.train_and_evaluate(tiny_config(train__epochs=1), tmp_path)
    stop_after(1)
    assert rir_jax.train_and_evaluate(tiny_config(train__epochs=3), tmp_path) is None
    assert Workdir(tmp_path).summary() is None
    with pytest.raises(InputError, match=r"train\.epochs was 3, now 1"):
        rir_jax.train_and_evaluate(tiny_config(train__epochs=1), tmp_path)


def test_each_of_several_seeds_may_be_given_more_epochs(tmp_path):
    for epochs in (1, 2):
        config = tiny_config(train__epochs=epochs)
        config.num_seeds = 2
        summary = rir_jax.train_and_evaluate(config, tmp_path)
        assert (summary["epochs"], summary["num_seeds"]) == (epochs, 2)


def test_a_cosine_is_given_no_more_epochs_but_told_how_to_go_on(tmp_path):
    config = tiny_config(train__epochs=1)
    config.schedule.kind = "cosine"
    Workdir(tmp_path).write_config(configs.flatten(config))
    config.train.epochs = 2
    with pytest.raises(InputError, match=r"epochs was 1, now 2.*--config\.init\.weights=WORKDIR"):
        rir_jax.train_and_evaluate(config, tmp_path)
