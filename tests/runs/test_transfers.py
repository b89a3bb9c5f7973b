"""What goes between the host and the devices while a network is trained."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rir_jax.runs.interrupt import StopRequest
from rir_jax.runs.run import Run
from rir_jax.runs.workdir import Workdir
from rir_jax.training.engine import Engine
from rir_jax.training.setup import build
from tests.training.tiny import tiny_config


class Results:
    """An array of results that notes when it is read."""

    def __init__(self, array, note):
        self._array, self._note = array, note

    def __array__(self, dtype=None, copy=None):
        self._note()
        return np.asarray(self._array, dtype)


def test_the_guard_sees_what_is_sent():
    """It is around every training loop of these tests."""
    with (
        jax.transfer_guard_host_to_device("disallow"),
        pytest.raises(Exception, match="Disallowed host-to-device transfer"),
    ):
        jnp.ones(3) + np.ones(3, np.float32)


def test_metrics_are_all_that_is_read_and_that_a_call_late(tmp_path, monkeypatch):
    """On a CPU no guard sees a read, so they are noted here, in their order."""
    happened, train, evaluate = [], Engine.train.func, Engine.evaluate.func

    def noting(program, name):
        def make(engine):
            compiled = program(engine)

            def call(*arguments):
                number = sum(what.startswith(f"{name} ") for what in happened) + 1
                happened.append(f"{name} {number}")
                results = compiled(*arguments)
                state, read = results if name == "train" else (None, results)
                read = jax.tree.map(
                    lambda array: Results(array, lambda: happened.append(f"read {name} {number}")),
                    read,
                )
                return (state, read) if name == "train" else read

            return call

        return property(make)

    monkeypatch.setattr(Engine, "train", noting(train, "train"))
    monkeypatch.setattr(Engine, "evaluate", noting(evaluate, "evaluate"))
    monkeypatch.setattr("rir_jax.runs.pace.Pace.steps", lambda self, left: min(left, 5))
    config = tiny_config(checkpoint__every_epochs=2)
    setup = build(config)
    workdir = Workdir(tmp_path / "run")
    with (
        StopRequest(None) as stop,
        workdir.open(config),
        Run(setup, {config.seed: workdir}, stop) as run,
    ):
        happened.clear()
        run.train_until(setup.total_steps)
        run.wait()
    expected = ["train 1"]
    for number in (2, 3):
        expected += [f"train {number}", *[f"read train {number - 1}"] * 2]
    expected += ["evaluate 1", "train 4", *["read train 3"] * 2, *["read evaluate 1"] * 2]
    for number in (5, 6):
        expected += [f"train {number}", *[f"read train {number - 1}"] * 2]
    expected += ["evaluate 2", *["read train 6"] * 2, *["read evaluate 2"] * 2]
    assert happened == expected
