"""What is shown of a run's progress: how far it is, and when it and what follows will be done."""

import io
import sys

import pytest

from experiments import plan, runner
from experiments.table import Row, Table
from rir_jax.runs import progress


@pytest.fixture
def clock(monkeypatch):
    """A clock that is set by hand: ``clock[0]`` is the time in seconds."""
    now = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    return now


def _shown(capsys, clock, later):
    """The line of a run resumed at step 100 of 1,000: 40 s to compile, two seconds a step."""
    shown = progress.Progress("row 1 of 2, RiR", later, total=1000, initial=100, steps_per_epoch=50)
    clock[0] = 42.0
    shown.update(101, loss="0.9")
    assert capsys.readouterr().err == ""
    clock[0] = 440.0
    shown.update(300, loss="0.5")
    return capsys.readouterr().err


def test_a_line_says_when_the_run_will_be_done(capsys, clock):
    assert _shown(capsys, clock, later=0) == (
        "row 1 of 2, RiR: epoch 6.0 of 20, step 300 of 1000, loss 0.5 [7:20 gone, 23:20 to go]\n"
    )


def test_a_line_says_when_what_follows_will_be_done(capsys, clock):
    """Three more runs, one of them twice as long: 4 times 2,000 s after the 1,400 of this one."""
    assert "[7:20 gone, 23:20 to go, 2:36:40 with what follows]" in _shown(capsys, clock, later=4)


def test_the_time_left_is_not_guessed_from_the_call_that_compiles(capsys, clock):
    shown = progress.Progress("RiR", 0, total=440, initial=0, steps_per_epoch=22)
    shown.compiling()
    clock[0] = 105.0
    shown.update(1, loss="6.1")
    clock[0] = 107.0
    shown.update(22, ended=True, test="10 %")
    assert capsys.readouterr().err.splitlines() == [
        "RiR: compiling the training program, which may take a minute or two",
        "RiR: epoch 0.0 of 20, step 1 of 440, loss 6.1 [1:45 gone]",
        "RiR: epoch 1.0 of 20, step 22 of 440, loss 6.1, test 10 % [1:47 gone, 0:40 to go]",
    ]


class _Terminal(io.StringIO):
    def isatty(self):
        return True


def test_a_terminal_has_a_bar(monkeypatch, clock):
    terminal = _Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    shown = progress.Progress("RiR", 0, total=100, initial=0, steps_per_epoch=50)
    shown.compiling()
    assert "RiR: compiling the training program" in terminal.getvalue()
    for step in (1, 11):
        clock[0] += 10.0
        shown.update(step, loss="0.5")
    shown.close()
    assert "epoch 0.2 of 2" in terminal.getvalue()
    assert " gone, 1:29 to go, loss 0.5]" in terminal.getvalue()


def test_where_there_is_no_terminal_each_epoch_has_a_line(capsys, clock):
    shown = progress.Progress("RiR", 0, total=150, initial=0, steps_per_epoch=50)
    for epoch in (1, 2, 3):
        clock[0] += 4.0
        shown.update(50 * epoch - 1, loss="0.5")
        shown.update(50 * epoch, ended=True, test=f"{epoch} %")
    shown.close()
    lines = capsys.readouterr().err.splitlines()
    assert [line.partition(",")[0] for line in lines] == [
        f"RiR: epoch {e}.0 of 3" for e in (1, 2, 3)
    ]
    assert "loss 0.5, test 2 % [0:08 gone, 0:04 to go]" in lines[1]


def test_short_epochs_do_not_flood_a_log(capsys, clock):
    shown = progress.Progress("RiR", 0, total=100, initial=0, steps_per_epoch=1)
    for step in range(1, 101):
        clock[0] += 0.1
        shown.update(step, ended=True)
    shown.close()
    assert len(capsys.readouterr().err.splitlines()) in (9, 10, 11)


def test_a_table_weighs_what_is_left_of_it(tmp_path, monkeypatch):
    deep = {"model.name": "rir32", "model.layers_per_block": 4}
    rows = (
        Row("RiR", {"model.name": "rir32"}),
        Row("deep", deep),
        Row("CNN", {"model.name": "cnn32"}),
    )
    table = Table("tiny", "Tiny", rows, fields={"train.epochs": 2, "mesh.seed": 1})
    places = []
    monkeypatch.setattr(runner, "_run", lambda *args: places.append(args[3]) or True)
    monkeypatch.setattr(runner, "_results", lambda *args: [])
    monkeypatch.setattr(
        runner, "_left", lambda folder, seeds: [s for s in seeds if "cnn" not in folder.name]
    )
    runner.run_table(table, tmp_path, seeds=2)
    shallow, deeper = (plan.work(table.config(row)) for row in rows[:2])
    assert 1.9 < deeper / shallow < 2.1
    assert [place.label for place in places] == ["row 1 of 3, RiR", "row 2 of 3, deep"] * 2
    expected = [(2 * deeper + shallow) / shallow, (shallow + deeper) / deeper, deeper / shallow, 0]
    assert [place.later for place in places] == pytest.approx(expected)
