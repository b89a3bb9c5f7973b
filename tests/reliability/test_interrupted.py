"""One run in real processes that are killed and asked to stop, against one left alone.

The long form of it is ``python -m tools.kill``.
"""

import signal

import pytest

import rir_jax
from rir_jax import loop
from rir_jax.runs.run import Run
from rir_jax.runs.workdir import Workdir
from tests.training.tiny import tiny_config
from tools import harness

pytestmark = pytest.mark.slow

EPOCHS = 20


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("interrupted")


def _start(workdir):
    return harness.start(workdir, train__epochs=EPOCHS)


def _start_until(workdir, at_write=False):
    """A process that has saved a checkpoint, or that is now saving its second."""
    newest = max(harness.steps_of(workdir), default=-1)
    process = _start(workdir)

    def there():
        saved = max(harness.steps_of(workdir), default=-1) > max(newest, 0)
        return saved and (not at_write or harness.being_written(workdir))

    assert harness.wait_until(there, process), harness.output(process)
    return process


@pytest.fixture(scope="module")
def alone(folder):
    """The same run twice, in two fresh processes at once."""
    runs = {folder / name: _start(folder / name) for name in ("one", "two")}
    for process in runs.values():
        said = harness.output(process)
        assert process.returncode == 0, said
    return list(runs)


@pytest.fixture(scope="module")
def lives(folder):
    """What became of the processes of a run that ended by its fourth."""
    workdir, lives = folder / "attacked", {"workdir": folder / "attacked"}

    process = _start_until(workdir, at_write=True)
    process.kill()
    harness.output(process)
    lives["half written"] = harness.being_written(workdir)

    for number in (signal.SIGTERM, signal.SIGINT):
        process = _start_until(workdir)
        before = harness.steps_of(workdir)[0]
        process.send_signal(number)
        said = harness.output(process)
        lives[number] = (said, process.returncode, before, harness.steps_of(workdir)[0])

    process = _start(workdir)
    lives["last"] = (harness.output(process), process.returncode)
    return lives


def test_two_fresh_processes_make_the_same_bits(alone):
    assert harness.differences(*alone) == []
    assert harness.steps_of(alone[0])[0] == 22 * EPOCHS


def test_what_was_killed_and_stopped_ends_with_the_bits_of_the_undisturbed(alone, lives):
    assert lives["last"][1] == 0, lives["last"][0]
    assert lives["half written"], "the first kill was to hit a checkpoint write"
    assert harness.differences(alone[0], lives["workdir"]) == []


@pytest.mark.parametrize(("number", "expected"), [(signal.SIGTERM, 0), (signal.SIGINT, 130)])
def test_a_signal_makes_a_checkpoint(lives, number, expected):
    said, code, before, after = lives[number]
    assert code == expected, said
    assert f"received {number.name}: stopped at step {after} of {22 * EPOCHS}" in said
    assert before <= after < 22 * EPOCHS


def test_ctrl_c_ends_a_loop_over_runs_after_its_checkpoint(tmp_path, monkeypatch):
    class Interrupted(Run):
        def train_until(self, step):
            super().train_until(5)
            signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(loop, "Run", Interrupted)
    with pytest.raises(KeyboardInterrupt):
        rir_jax.train_and_evaluate(tiny_config(), tmp_path)
    assert max(harness.steps_of(tmp_path)) >= 5


def test_a_second_process_on_the_workdir_is_refused(tmp_path):
    with Workdir(tmp_path).open(harness.tiny_config()):
        rival = _start(tmp_path)
        said = harness.output(rival)
    assert rival.returncode == 2
    assert said == (
        f"error: workdir {tmp_path} is in use by another process; wait for it, or choose another "
        "workdir\n"
    )
    assert [path.name for path in tmp_path.iterdir()] == [".lock"]
