"""Numbers gone wrong: the run stops with the step, and keeps what was good."""

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
from rir_jax.runs.metrics import Intervals
from rir_jax.runs.workdir import Workdir
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
        assert "were run together" in str(error.value)
        assert "A lower optimizer.learning_rate or momentum" in str(error.value)
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


@pytest.mark.parametrize("loss", [np.nan, np.inf, -np.inf])
def test_the_step_and_the_interval_are_named(loss):
    intervals = Intervals(5, 22)
    losses = np.array([1.0, 2.0, loss, 3.0])
    with pytest.raises(RunError, match=rf"became {loss} at step 9 \(steps 7 to 10 were run"):
        intervals.add(10, losses, np.zeros(4))


def test_a_loss_before_any_update_is_not_blamed_on_the_learning_rate():
    with pytest.raises(RunError, match="No update was made before: the first weights or") as error:
        Intervals(5, 22).add(1, np.array([np.nan]), np.zeros(1))
    assert "learning_rate" not in str(error.value)


def test_the_losses_before_are_told():
    intervals = Intervals(50, 50)
    intervals.add(2, np.array([2.3, 9.5]), np.zeros(2))
    with pytest.raises(RunError, match=r"run together; before, it was 2.3, 9.5, 4e\+08\)"):
        intervals.add(4, np.array([4e8, np.inf]), np.zeros(2))


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
        run._state = run._state.replace(
            params=jax.tree.map(lambda leaf: leaf * np.float32("nan"), run._state.params)
        )
        with pytest.raises(
            RunError, match=r"is not finite at step 0; .* No update was made before"
        ):
            run._checkpoint()
    assert steps_of(folder.path) == [0]
