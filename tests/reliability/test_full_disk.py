"""Writes that fail, in every file of a run: one line, nothing lost, and an exact resume.

The limit on the size of files makes the writes of Python and of orbax fail for real, and needs no
rights. test_small_disk.py does the same on a file system that is full.
"""

import contextlib
import logging
import resource
import shutil
import signal

import pytest

import rir_jax
from rir_jax.errors import InputError, RunError
from rir_jax.runs import run as runs
from rir_jax.runs.checkpoints import Checkpoints
from rir_jax.runs.metrics import MetricsLog
from rir_jax.runs.workdir import Workdir
from tests.reliability.conftest import StopAfter
from tools.harness import differences, steps_of

pytestmark = pytest.mark.filterwarnings(
    "ignore::pytest.PytestUnraisableExceptionWarning",
    "ignore::pytest.PytestUnhandledThreadExceptionWarning",
)


@contextlib.contextmanager
def files_no_larger_than(size):
    logging.disable()  # what orbax's threads log goes to a file too, of the test runner
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY,) * 2)
        signal.signal(signal.SIGXFSZ, before)
        logging.disable(logging.NOTSET)


@pytest.mark.slow
@pytest.mark.parametrize("size", [0, 4000])
def test_a_checkpoint_that_cannot_be_written(size, setup, tmp_path, reference, go):
    """The last good one and the log stay as they were, and the run goes on from them."""
    folder = Workdir(tmp_path / "run")
    with folder.open(setup.config), runs.Run(setup, {0: folder}, StopAfter()) as run:
        run.train_until(22)
        run.wait()
        run.train_until(23)
        [state] = setup.engine.unstack(run._state)
        with files_no_larger_than(size):
            said = _failure(Checkpoints(folder / "checkpoints"), state)
        assert "could not be written: File too large; what was saved before is intact" in said
        assert "\n" not in said
    assert steps_of(folder.path) == [22, 0]
    go(folder.path)
    assert differences(reference, folder.path) == []


def _failure(checkpoints, state):
    """Saves, and returns what the error says."""
    try:
        checkpoints.save(state, {})
        checkpoints.close()
    except RunError as error:
        return str(error)
    return "no error"


@pytest.mark.slow
@pytest.mark.parametrize("keep", [1, 2])
def test_a_failed_checkpoint_costs_none_of_those_that_are_kept(keep, setup, tmp_path):
    state = setup.engine.init(0)
    checkpoints = Checkpoints(tmp_path / "checkpoints", keep)
    for step in (1, 2, 3):
        checkpoints.save(state.replace(step=state.step + step), {})
    checkpoints.wait()
    with files_no_larger_than(100):
        assert "step 4" in _failure(checkpoints, state.replace(step=state.step + 4))
    again = Checkpoints(tmp_path / "checkpoints", keep)
    assert again.steps() == [3, 2, 1][:keep]
    restored, _ = again.restore(lambda notes: setup.engine.abstract_state())
    assert int(restored.step) == 3


RECORD = {"step": 1, "split": "train", "loss": 1.0}
OTHERS = {
    "metrics.jsonl": (lambda workdir, log: log.write(RECORD), 0),
    # Enough for the line of metrics.jsonl, and not for the event.
    "tensorboard": (lambda workdir, log: (log.write(RECORD), log.flush()), 60),
    "summary.json": (lambda workdir, log: workdir.write_json("summary.json", RECORD), 0),
    "curves.png": (lambda workdir, log: workdir.write_bytes("curves.png", b"png" * 99), 0),
}


@pytest.mark.parametrize("name", OTHERS)
def test_any_other_file_that_cannot_be_written_is_named(name, tmp_path):
    workdir, (write, size) = Workdir(tmp_path), OTHERS[name]
    workdir.write_bytes("curves.png", b"as it was")
    log = MetricsLog(workdir)
    with files_no_larger_than(size), pytest.raises(RunError, match=f"{name} .*File too large"):
        write(workdir, log)
    assert (tmp_path / "curves.png").read_bytes() == b"as it was"
    assert not list(tmp_path.glob(".*.tmp"))
    with contextlib.suppress(RunError):
        log.close()


def test_a_workdir_that_cannot_be_made_or_written(setup):
    for path in ("/proc/rir", "/proc/self/fdinfo"):
        with (
            pytest.raises(InputError, match=f"workdir {path} cannot be written to"),
            Workdir(path).open(setup.config),
        ):
            pass


@pytest.mark.slow
def test_reading_a_run_writes_nothing(reference, tmp_path):
    copy = shutil.copytree(reference, tmp_path / "run")
    left = copy / "checkpoints/99.orbax-checkpoint-tmp"
    left.mkdir()
    before = {path: path.stat().st_mtime_ns for path in copy.rglob("*")}
    assert rir_jax.load(copy)[2].step == 66
    assert before == {path: path.stat().st_mtime_ns for path in copy.rglob("*")}
