"""Numbers gone wrong: the run stops with the step, and keeps what was good."""

import dataclasses
import itertools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from rir_jax import config as configs
from rir_jax import config_fields
from rir_jax.data.mixing import mix
from rir_jax.errors import InputError, RunError
from rir_jax.runs import run as runs
from rir_jax.runs.metrics import check_losses
from rir_jax.runs.workdir import Workdir
from rir_jax.training import engine as engines
from rir_jax.training.objective import sgd
from rir_jax.training.setup import build
from tests.reliability.conftest import StopAfter
from tools.harness import records_of, state_of, steps_of, tiny_config

pytestmark = pytest.mark.slow


def test_an_absurd_learning_rate_stops_the_run_and_keeps_the_last_good_checkpoint(tmp_path, go):
    absurd = {"optimizer__learning_rate": 3e38, "optimizer__weight_decay": 0.0}
    setup = build(tiny_config(mesh__data=1, model__name="cnn32", **absurd))
    for _ in range(2):  # and again, when it is resumed
        with pytest.raises(RunError) as error:
            go(tmp_path, setup=setup)
        assert "the loss became" in str(error.value)
        assert "update before it had a learning rate of 3e+38: a lower" in str(error.value)
        assert steps_of(tmp_path)
        chex.assert_tree_all_finite(state_of(tmp_path))
    assert all(np.isfinite(record["loss"]) for record in records_of(tmp_path))
    assert not (tmp_path / "summary.json").exists()


def test_what_jax_debug_nans_finds_is_told_in_a_line(tmp_path, go):
    absurd = {"optimizer__learning_rate": 3e38, "optimizer__weight_decay": 0.0}
    setup = build(tiny_config(mesh__data=1, model__name="cnn32", **absurd))
    with (
        jax.debug_nans(True),
        pytest.raises(
            RunError, match="jax_debug_nans found a number that is nan near step"
        ) as error,
    ):
        go(tmp_path, setup=setup)
    assert "\n" not in str(error.value)
    assert steps_of(tmp_path) == [0]


def _rate(updates):
    return 0.1 / updates


@pytest.mark.parametrize("loss", [np.nan, np.inf, -np.inf])
def test_the_step_is_named(loss):
    losses = np.array([1.0, 2.0, loss, 3.0])
    with pytest.raises(RunError, match=rf"became {loss} at step 9, after 1, 2; the last checkp"):
        check_losses(10, losses, [], _rate)


def test_what_was_seen_before_is_told():
    """The last losses, of the call before too, and the rate of the update of step 4."""
    with pytest.raises(RunError, match=r"at step 5, after 9.5, 4e\+08, 5e\+08; ") as error:
        check_losses(5, np.array([4e8, 5e8, np.inf]), [2.3, 9.5], _rate)
    assert "the update before it had a learning rate of 0.03333:" in str(error.value)


def test_first_weights_that_overflow_are_not_blamed_on_the_learning_rate(setup, tmp_path, go):
    huge = {"params/head_dense/kernel": np.full((16, 10), 3e38, np.float32)}
    with pytest.raises(RunError, match=r"became nan at step 1; .* the network overflows") as error:
        go(tmp_path, setup=dataclasses.replace(setup, start=huge))
    assert "learning_rate" not in str(error.value)


def test_weights_to_start_from_that_are_not_finite_are_named(setup, tmp_path, go):
    start = {"params/head_dense/bias": np.array([*range(9), np.nan])}
    with pytest.raises(InputError, match=r"is None, in which params/head_dense/bias is not finite"):
        go(tmp_path, setup=dataclasses.replace(setup, start=start))


def test_a_loss_of_the_evaluation_says_that_those_of_training_were_finite(
    setup, tmp_path, go, monkeypatch
):
    monkeypatch.setattr(
        engines, "evaluation_result", lambda *_: {"loss": np.nan, "accuracy": np.float64(0)}
    )
    with pytest.raises(RunError, match="test split is nan at step 22, though the training losses"):
        go(tmp_path)
    assert steps_of(tmp_path) == [0]


@pytest.mark.parametrize("kind", ["mixup", "cutmix"])
def test_the_least_and_the_largest_alpha_mix_and_less_is_refused(kind):
    field = config_fields.FIELDS[f"augment.{kind}"]
    images, targets = jnp.arange(128.0).reshape(2, 8, 8, 1), jnp.eye(2)
    shares = {"mixup": 0.0, "cutmix": 0.0}
    for alpha, key in itertools.product(field.extremes, jax.random.split(jax.random.key(0), 20)):
        mixed = mix(key, images, targets, **{**shares, kind: alpha})
        assert all(bool(jnp.isfinite(array).all()) for array in mixed)
    with pytest.raises(InputError, match=f"augment.{kind} is 1e-38; allowed: 0, or a number from "):
        config_fields.parse_text(f"augment.{kind}", "1e-38")


def test_a_part_of_one_is_less_than_one_in_float32():
    parts = [
        path for path, field in config_fields.FIELDS.items() if field.extremes == (0, 0.9999999)
    ]
    assert {"optimizer.momentum", "model.norm_momentum", "train.average_decay"} < set(parts)
    for path in parts:
        assert np.float32(config_fields.FIELDS[path].extremes[1]) < 1
        with pytest.raises(InputError, match=f"{path} is 0.99999999; allowed: a number from 0 to"):
            config_fields.parse_text(path, "0.99999999")


@pytest.mark.parametrize("nesterov", [False, True])
def test_the_largest_weight_decay_is_where_the_penalty_alone_makes_kernels_grow(nesterov):
    fields = {"optimizer__momentum": 0.9, "optimizer__nesterov": nesterov}
    limit = 2 * 1.9 / (1 + 1.8 * nesterov) / 0.05
    kernels = {}
    for decay in (0.99 * limit, 1.01 * limit):
        optimizer = sgd(lambda step: 0.05, 0.9, decay, nesterov=nesterov)

        def step(_, carry, optimizer=optimizer):
            params, state = carry
            updates, state = optimizer.update({"kernel": jnp.zeros(())}, state, params)
            return optax.apply_updates(params, updates), state

        params = {"kernel": jnp.ones(())}
        params, _ = jax.lax.fori_loop(0, 200, step, (params, optimizer.init(params)))
        kernels[decay] = abs(float(params["kernel"]))
    below, above = kernels.values()
    assert below < 1 < above
    allowed, refused = (tiny_config(**fields, optimizer__weight_decay=decay) for decay in kernels)
    configs.validate(allowed)
    with pytest.raises(InputError, match="from which on the penalty makes kernels grow"):
        configs.validate(refused)


@pytest.mark.parametrize(
    ("fields", "rate"),
    [
        ({"schedule__factor": 3e38, "schedule__milestones": (1, 2, 3)}, "4.5e\\+75"),
        ({"schedule__factor": 1e-30, "schedule__milestones": (1, 2)}, "5e-62"),
        ({"optimizer__learning_rate": 1e-37}, "1e-38"),
    ],
)
def test_a_learning_rate_that_float32_does_not_hold_is_refused(fields, rate):
    with pytest.raises(InputError, match=f"^schedule.factor is .* to {rate} at the schedule.mile"):
        configs.validate(tiny_config(**fields))


def test_parameters_that_are_not_finite_are_not_saved(setup, tmp_path):
    """A loss is that of the step before: the last update may have gone wrong unseen."""
    folder = Workdir(tmp_path / "run")
    with folder.open(setup.config), runs.Run(setup, {0: folder}, StopAfter()) as run:
        run.train_until(3)
        run._read()
        run._state = run._state.replace(
            params=jax.tree.map(lambda leaf: leaf * np.float32("nan"), run._state.params)
        )
        with pytest.raises(
            RunError, match=r"is not finite at step 3, whose update had a learning rate of 0.05; "
        ):
            run._checkpoint()
    assert steps_of(folder.path) == [0]
