"""Runs side by side: what differs, what came of each, and their curves in one picture."""

import json

import numpy as np
import pytest
from PIL import Image

import rir_jax
from rir_jax import config as configs
from rir_jax.pictures import curves
from rir_jax.pictures.curves import draw_comparison
from rir_jax.runs.comparison import read_result
from tests.commands import assert_one_line
from tests.training.tiny import tiny_config


def _record(step, epoch, split, loss, accuracy):
    record = {"step": step, "epoch": epoch, "split": split, "loss": loss, "accuracy": accuracy}
    return json.dumps({**record, "images_per_second": None}) + "\n"


def _write(folder, accuracies, changes, finished=True):
    """The files of a run as it leaves them, of an accuracy an epoch."""
    folder.mkdir(parents=True)
    config = configs.flatten(tiny_config(train__epochs=3)) | changes
    (folder / "config.json").write_text(json.dumps(config))
    lines = [
        _record(10 * epoch, epoch, split, 2 - accuracy, accuracy)
        for epoch, accuracy in enumerate(accuracies, 1)
        for split in ("train", "test")
    ]
    (folder / "metrics.jsonl").write_text("".join(lines))
    if finished:
        (folder / "summary.json").write_text(json.dumps({"seconds": 12.6, "device": "1 x cpu"}))
    return folder


@pytest.fixture
def two(tmp_path):
    return [
        _write(tmp_path / "a", [0.5, 0.7, 0.9], {}),
        _write(tmp_path / "b", [0.4, 0.6], {"optimizer.learning_rate": 0.1, "mesh.data": 2}, False),
    ]


def test_a_table_of_what_differs_and_what_came_of_it(command, two):
    code, out, err = command("rir_jax.compare", *two)
    assert (code, err) == (0, "")
    width = len(str(two[0])) + 2
    names = [line[:25].strip() for line in out.splitlines()]
    cells = [[line[25 : 25 + width].strip(), line[25 + width :]] for line in out.splitlines()]
    assert dict(zip(names, cells, strict=True)) == {
        "": [str(path) for path in two],
        "optimizer.learning_rate": ["0.05", "0.1"],
        "split": ["test", "test"],
        "accuracy": ["90.00 %", "60.00 %"],
        "loss": ["1.1000", "1.4000"],
        "epochs": ["3", "2 of 3"],
        "seconds": ["13", "not finished"],
        "device": ["1 x cpu", "unset"],
    }


def test_json_for_programs(command, two):
    code, out, _ = command("rir_jax.compare", "--json", *two)
    first, second = map(json.loads, out.splitlines())
    assert code == 0
    assert (first["accuracy"], first["finished"], first["seconds"]) == (0.9, True, 12.6)
    assert (second["accuracy"], second["finished"], second["seconds"]) == (0.6, False, None)
    assert [one["config"] for one in (first, second)] == [
        {"optimizer.learning_rate": 0.05},
        {"optimizer.learning_rate": 0.1},
    ]


def test_several_seeds_are_one_column_of_means(tmp_path):
    run = tmp_path / "run"
    _write(run, [], {"num_seeds": 2}, finished=False)
    for seed, accuracy in ((0, 0.8), (1, 0.9)):
        _write(run / f"seed_{seed}", [0.5, accuracy], {"seed": seed})
    result = read_result(run)
    assert result.accuracy == pytest.approx(0.85)
    assert result.accuracy_std == pytest.approx(0.0707, abs=1e-4)
    assert (result.seeds, result.finished, len(result.records)) == (2, True, 2)


def test_curves_of_all_in_one_picture(command, two, tmp_path):
    path = tmp_path / "pictures" / "curves.png"
    code, _, err = command("rir_jax.compare", *two, f"--picture={path}")
    assert (code, err) == (0, "")
    with Image.open(path) as picture:
        assert picture.width > 1000
    results = {path.name: read_result(path).records for path in two}
    assert draw_comparison(results) != draw_comparison({"a": results["a"]})
    found = command("rir_jax.compare", *two, f"--picture={two[0] / 'config.json' / 'x.png'}")
    assert found[0] == 2
    assert "cannot be written" in found[2]


@pytest.mark.parametrize("accuracies", [[], [0.5], [0.5, 0.99, 1.0]])
def test_axes_have_whole_epochs_plain_losses_and_room_for_no_error(accuracies, monkeypatch):
    drawn = []
    monkeypatch.setattr(curves, "png", lambda figure: drawn.append(figure) or b"")
    records = [
        json.loads(_record(10 * epoch, epoch, "test", 1.05 - accuracy, accuracy))
        for epoch, accuracy in enumerate(accuracies, 1)
    ]
    draw_comparison({"a": [records], "b": [records]})
    drawn[0].canvas.draw()
    loss_axes, accuracy_axes = drawn[0].axes
    assert all(float(tick).is_integer() for tick in loss_axes.get_xticks())
    texts = [label.get_text() for label in loss_axes.yaxis.get_ticklabels(which="both")]
    assert not [text for text in texts if "10^" in text or "e" in text]
    for line in accuracy_axes.get_lines():
        assert np.isfinite(accuracy_axes.transData.transform(line.get_xydata())).all()
    assert accuracy_axes.get_yscale() == "function", "as in the picture of one run"


def test_mistakes_get_one_line(command, two, tmp_path):
    found = command("rir_jax.compare", two[0])
    assert_one_line(found, "1 folders of runs given; allowed: two or more")
    found = command("rir_jax.compare", two[0], tmp_path)
    assert_one_line(found, f"workdir {tmp_path} holds no run (no config.json)")


@pytest.mark.slow
def test_a_real_run_is_read(tmp_path):
    summary = rir_jax.train_and_evaluate(tiny_config(), tmp_path)
    result = read_result(tmp_path)
    assert (result.accuracy, result.loss) == (summary["test_accuracy"], summary["test_loss"])
    assert (result.seconds, result.epochs) == (summary["seconds"], summary["epochs"])
