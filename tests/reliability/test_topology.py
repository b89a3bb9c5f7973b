"""One run that moves between eight devices, two processes and one device, and loses a process."""

import signal
import time

import numpy as np
import pytest

from rir_jax.runs.workdir import Workdir
from rir_jax.training.setup import build
from tests.reliability.conftest import StopAfter
from tools import harness

pytestmark = pytest.mark.slow

EPOCHS = 10
# Other devices sum in another order. The difference grows with the steps; at the end of these it
# is some 1e-5 of the losses.
TOLERANCE = 2e-3


def _go(workdir, devices, until=None):
    """Within this process, on some of its devices, until a step (of whole epochs) or the end."""
    from rir_jax.runs import run as runs

    setup = build(harness.tiny_config(train__epochs=EPOCHS, mesh__data=devices))
    folder = Workdir(workdir)
    with folder.open(setup.config), runs.Run(setup, {0: folder}, StopAfter()) as run:
        if until is None:
            return run.finish()[0]
        run.train_until(until)
        run.wait()
        return None


def _two_until_saved(workdir):
    newest = harness.steps_of(workdir)[0]
    pair = harness.start_several(workdir, train__epochs=EPOCHS)
    saved = harness.wait_until(lambda: harness.steps_of(workdir)[0] > newest, pair[0])
    assert saved, [harness.output(process) for process in pair]
    return pair


@pytest.fixture(scope="module")
def moved(tmp_path_factory):
    workdir = tmp_path_factory.mktemp("moved") / "run"
    story = {"workdir": workdir}
    _go(workdir, devices=8, until=22)

    pair = _two_until_saved(workdir)
    pair[1].send_signal(signal.SIGTERM)
    story["stopped"] = [(harness.output(process), process.returncode) for process in pair]
    story["stopped at"] = harness.steps_of(workdir)[0]

    pair = _two_until_saved(workdir)
    pair[1].kill()
    story["left alone"] = (harness.output(pair[0]), pair[0].returncode)
    harness.output(pair[1])

    at = harness.steps_of(workdir)[0]
    story["on one device"] = _go(workdir, devices=1, until=at - at % 22 + 22)
    story["summary"] = _go(workdir, devices=8)
    return story


def test_the_losses_are_those_of_one_device(moved, tmp_path):
    _go(tmp_path / "run", devices=1)
    expected, found = harness.records_of(tmp_path / "run"), harness.records_of(moved["workdir"])
    assert moved["summary"]["steps"] == 22 * EPOCHS
    assert [(r["split"], r["step"]) for r in expected] == [(r["split"], r["step"]) for r in found]
    losses = np.array([[r["loss"] for r in records] for records in (expected, found)])
    np.testing.assert_allclose(*losses, rtol=TOLERANCE)


def test_metrics_are_written_once(moved):
    records = harness.records_of(moved["workdir"])
    steps = [step for r in records if r["split"] == "train" for step in harness.steps_in(r)]
    assert steps == list(range(1, 22 * EPOCHS + 1))
    tests = [record["step"] for record in records if record["split"] == "test"]
    assert tests == list(range(22, 22 * EPOCHS + 1, 22))


def test_a_signal_to_one_process_stops_both_at_the_same_step(moved):
    (said_0, code_0), (said_1, code_1) = moved["stopped"]
    assert (code_0, code_1) == (0, 0), said_0 + said_1
    where = f"stopped at step {moved['stopped at']} of {22 * EPOCHS}"
    assert f"another process was asked to stop: {where}" in said_0
    assert f"received SIGTERM: {where}" in said_1


def test_a_process_whose_peer_is_killed_says_so_and_ends(moved):
    said, code = moved["left alone"]
    assert code == 1, said
    assert "error: stopped near step" in said
    assert "as another process is gone or cannot be reached" in said
    assert "Traceback" not in said


@pytest.mark.long
@pytest.mark.parametrize(
    ("lost", "number"),
    [(1, signal.SIGKILL), (0, signal.SIGKILL), (1, signal.SIGSTOP)],
    ids=["worker killed", "leader killed", "worker frozen"],
)
def test_the_loss_of_a_process_ends_the_other(lost, number, tmp_path):
    """A frozen process looks to the other as a machine that is cut off would."""
    pair = harness.start_several(tmp_path / "run", train__epochs=1000)
    saved = harness.wait_until(lambda: max(harness.steps_of(tmp_path / "run"), default=0), pair[0])
    assert saved, harness.output(pair[0])
    pair[lost].send_signal(number)
    begun, other = time.monotonic(), pair[1 - lost]
    said = harness.output(other)
    print(f"ended after {time.monotonic() - begun:.1f} s with exit code {other.returncode}")
    pair[lost].kill()
    harness.output(pair[lost])
    assert other.returncode != 0, said
