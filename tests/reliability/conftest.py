"""A tiny network whose programs are compiled once, and runs of it within this process."""

import gc
import pathlib

import pytest

from rir_jax.runs import member
from rir_jax.runs import run as runs
from rir_jax.runs.workdir import Workdir
from rir_jax.training.setup import build
from tools.harness import tiny_config


class StopAfter:
    """Asks a run to stop after some calls; never if None."""

    def __init__(self, calls=None):
        self._left = calls

    def reason(self):
        if self._left is None:
            return None
        self._left -= 1
        return "the test says so" if self._left <= 0 else None


@pytest.fixture
def tidy():
    """Collects garbage after a test, while its filters of warnings hold."""
    yield
    gc.collect()


@pytest.fixture(scope="session")
def setup():
    """Of a run on one device, 3 epochs of 22 steps."""
    return build(tiny_config(mesh__data=1, train__epochs=3))


@pytest.fixture
def go(setup, monkeypatch):
    """``go(workdir, stop_after=None)`` starts or resumes the run of `setup`."""
    monkeypatch.setattr(member, "draw_curves", lambda *_, **__: b"no picture here, for speed")

    def run(workdir, stop_after=None, setup=setup):
        folder = Workdir(workdir)
        with (
            folder.open(setup.config),
            runs.Run(setup, {0: folder}, StopAfter(stop_after)) as run,
        ):
            summaries = run.finish()
        return summaries and summaries[0]

    return run


@pytest.fixture(scope="session")
def reference(setup, tmp_path_factory):
    """The folder of the run of `setup`, never disturbed."""
    folder = Workdir(tmp_path_factory.mktemp("reference") / "run")
    with folder.open(setup.config), runs.Run(setup, {0: folder}, StopAfter()) as run:
        run.finish()
    return pathlib.Path(folder.path)
