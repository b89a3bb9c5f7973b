"""Numbers gone wrong: the run stops with the step, and keeps what was good."""

import jax
import numpy as np
import pytest

from rir_jax.errors import RunError
from rir_jax.runs import run as runs
from rir_jax.runs.metrics import Intervals
from rir_jax.runs.workdir import Workdir
from rir_jax.training.setup import build
from tests.reliability.conftest import StopAfter
from tools.harness import records_of, state_of, steps_of, tiny_config


def test_an_absurd_learning_rate_stops_the_run_and_keeps_the_last_good_checkpoint(tmp_path, go):
    setup = build(tiny_config(mesh__data=1, optimizer__learning_rate=1e30, model__name="cnn32"))
    for _ in range(2):  # and again, when it is resumed
        with pytest.raises(RunError) as error:
            go(tmp_path, setup=setup)
        assert "the loss became" in str(error.value)
        assert "were run together" in str(error.value)
        assert "A lower optimizer.learning_rate" in str(error.value)
        assert steps_of(tmp_path)
        assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(state_of(tmp_path)))
    assert all(np.isfinite(record["loss"]) for record in records_of(tmp_path))
    assert not (tmp_path / "summary.json").exists()


@pytest.mark.parametrize("loss", [np.nan, np.inf, -np.inf])
def test_the_step_and_the_interval_are_named(loss):
    intervals = Intervals(5, 22)
    losses = np.array([1.0, 2.0, loss, 3.0])
    with pytest.raises(RunError, match=rf"became {loss} at step 9 \(steps 7 to 10 were run"):
        intervals.add(10, losses, np.zeros(4))


def test_parameters_that_are_not_finite_are_not_saved(setup, tmp_path):
    """A loss is that of the step before: the last update may have gone wrong unseen."""
    folder = Workdir(tmp_path / "run")
    with folder.open(setup.config), runs.Run(setup, {0: folder}, StopAfter()) as run:
        run._state = run._state.replace(
            params=jax.tree.map(lambda leaf: leaf * np.float32("nan"), run._state.params)
        )
        with pytest.raises(RunError, match="is not finite at step 0; the last checkpoint is from"):
            run._checkpoint()
    assert steps_of(folder.path) == [0]
