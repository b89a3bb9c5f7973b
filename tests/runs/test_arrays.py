"""Runs on arrays that the caller has, and what the caller is told of them."""

import dataclasses
import json

import chex
import numpy as np
import pytest

import rir_jax
from rir_jax import Dataset, InputError, Split, loop
from rir_jax.data import sources
from rir_jax.runs.metrics import read_metrics
from rir_jax.runs.workdir import Workdir
from rir_jax.trained.evaluation import evaluate
from tests.training.tiny import tiny_config

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def digits():
    """Those of the data set by that name, as a caller's arrays."""
    data = sources.load("digits")
    train, test = (Split(s.images, s.labels.astype(np.int64)) for s in (data.train, data.held_out))
    return Dataset(train, test, list(data.class_names), "digits")


@pytest.fixture(scope="module")
def finished(digits, tmp_path_factory):
    """A run on arrays, and the records that its callback got."""
    workdir, records = tmp_path_factory.mktemp("runs") / "arrays", []
    summary = rir_jax.train_and_evaluate(
        tiny_config(dataset__name="cifar10"), workdir, dataset=digits, on_record=records.append
    )
    return workdir, summary, records


def stop_when_asked_again(monkeypatch, times):
    asked = iter([None] * times)
    monkeypatch.setattr(loop.StopRequest, "reason", lambda self: next(asked, "a test"))


def states_equal(*workdirs):
    chex.assert_trees_all_equal(*(rir_jax.load(one)[1] for one in workdirs), strict=True)


def test_it_is_the_run_of_the_same_images_by_name(finished, tmp_path):
    workdir, summary, _ = finished
    by_name = rir_jax.train_and_evaluate(tiny_config(), tmp_path / "by_name")
    for name in ("test_accuracy", "test_loss", "dataset"):
        assert summary[name] == by_name[name]
    states_equal(workdir, tmp_path / "by_name")


def test_the_callback_gets_every_record_with_its_seed(finished):
    workdir, _, records = finished
    assert records == [{"seed": 0, **record} for record in read_metrics(Workdir(workdir))]
    assert {record["split"] for record in records} == {"train", "test"}


def test_an_interrupted_run_goes_on_with_the_same_arrays(finished, digits, tmp_path, monkeypatch):
    whole, _, expected = finished
    records = []
    with monkeypatch.context() as patch:
        stop_when_asked_again(patch, 3)
        call = {"dataset": digits, "on_record": records.append}
        assert rir_jax.train_and_evaluate(tiny_config(), tmp_path / "run", **call) is None
    assert 0 < len(records) < len(expected)
    same = dataclasses.replace(digits)  # equal, but not the same object
    rir_jax.train_and_evaluate(tiny_config(), tmp_path / "run", **{**call, "dataset": same})
    without_speed = [
        [{k: v for k, v in record.items() if k != "images_per_second"} for record in some]
        for some in (records, expected)
    ]
    assert without_speed[0] == without_speed[1], "each told of once"
    states_equal(whole, tmp_path / "run")


def _changed(data, **changes):
    images, labels = data.train.images.copy(), data.train.labels.copy()
    if "pixel" in changes:
        images[5, 3, 3, 0] ^= 1
    if "label" in changes:
        labels[[0, 1]] = labels[[1, 0]]
    return dataclasses.replace(data, train=Split(images, labels))


OTHERS = {
    "a pixel": lambda data: _changed(data, pixel=True),
    "two labels": lambda data: _changed(data, label=True),
    "a test image": lambda data: dataclasses.replace(
        data, held_out=data.held_out.take(np.arange(1, len(data.held_out)))
    ),
    "a class": lambda data: dataclasses.replace(data, class_names=("zero", *data.class_names[1:])),
    "none": lambda data: None,
}


@pytest.mark.parametrize("change", OTHERS)
def test_other_arrays_are_refused(change, finished, digits):
    workdir, *_ = finished
    before = {path: path.stat().st_mtime_ns for path in workdir.rglob("*")}
    with pytest.raises(InputError, match=r"another config \(dataset.digest was '\w{16}', now"):
        rir_jax.train_and_evaluate(tiny_config(), workdir, dataset=OTHERS[change](digits))
    assert before == {path: path.stat().st_mtime_ns for path in workdir.rglob("*")}


def test_a_run_by_name_takes_no_arrays(digits, tmp_path, monkeypatch):
    stop_when_asked_again(monkeypatch, 2)
    rir_jax.train_and_evaluate(tiny_config(), tmp_path)
    with pytest.raises(InputError, match=r"dataset.digest was None, now '"):
        rir_jax.train_and_evaluate(tiny_config(), tmp_path, dataset=digits)


def test_runs_from_before_the_fields_are_gone_on_with(tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        stop_when_asked_again(patch, 2)
        rir_jax.train_and_evaluate(tiny_config(), tmp_path)
    path = tmp_path / "config.json"
    config = json.loads(path.read_text())
    path.write_text(json.dumps({k: v for k, v in config.items() if k != "dataset.digest"}))
    assert rir_jax.train_and_evaluate(tiny_config(), tmp_path)["steps"] == 22


def test_evaluate_takes_the_same_arrays_or_refuses(finished, digits):
    workdir, summary, _ = finished
    assert evaluate(workdir, dataset=digits)["accuracy"] == summary["test_accuracy"]
    for other in (None, _changed(digits, pixel=True)):
        with pytest.raises(InputError, match="allowed: the arrays that the run was started with"):
            evaluate(workdir, dataset=other)


def test_parts_of_arrays(digits, tmp_path):
    config = tiny_config(dataset__num_train=400, dataset__validation_fraction=0.25, train__epochs=1)
    summary = rir_jax.train_and_evaluate(config, tmp_path, dataset=digits)
    assert (summary["steps"], "validation_accuracy" in summary) == (300 // 128, True)


def test_what_the_callback_raises_ends_the_run(digits, tmp_path):
    def fail(record):
        raise ValueError(f"no more after step {record['step']}")

    with pytest.raises(ValueError, match="no more after step 4"):
        rir_jax.train_and_evaluate(tiny_config(), tmp_path, dataset=digits, on_record=fail)


IMAGES, LABELS = np.zeros((4, 8, 8, 1), np.uint8), [0, 1, 0, 1]
GOOD = Split(IMAGES, LABELS)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Dataset(Split(IMAGES / 255, LABELS), GOOD, "ab"), "'train' .* images float64"),
        (lambda: Dataset(GOOD, Split(IMAGES[0], LABELS), "ab"), r"'test' .* uint8 \(8, 8, 1\)"),
        (lambda: Dataset(Split(IMAGES[:0], []), GOOD, "ab"), r"images uint8 \(0, 8, 8, 1\)"),
        (lambda: Dataset(Split(IMAGES, [0, 1]), GOOD, "ab"), r"labels int64 \(2,\); .* its 4 im"),
        (lambda: Dataset(Split(IMAGES, [0.0] * 4), GOOD, "ab"), r"labels float64 \(4,\); allowed"),
        (lambda: Dataset(GOOD, GOOD, "a"), "2 labels of 4 outside its 1 classes"),
        (lambda: Dataset(GOOD, GOOD, "aa"), "two classes 'a'; allowed: names that differ"),
        (
            lambda: Dataset(GOOD, Split(IMAGES[:, :4], LABELS), "ab"),
            r"\(8, 8, 1\) in 'train' and \(4, 8, 1\) in 'test'; allowed: one shape",
        ),
        (lambda: Dataset(Split(IMAGES.repeat(2, 3), LABELS), GOOD, "ab"), "channels"),
    ],
)
def test_arrays_that_are_no_data_set_are_refused(make, message):
    with pytest.raises(InputError, match=message):
        make()


def test_a_name_that_is_none_is_refused(tmp_path):
    data = Dataset(GOOD, GOOD, "ab", name="my pets/all of/them")
    with pytest.raises(InputError, match=r"dataset.name is .my pets/all of/them.; allowed"):
        rir_jax.train_and_evaluate(tiny_config(), tmp_path / "run", dataset=data)
    assert not (tmp_path / "run").exists()
