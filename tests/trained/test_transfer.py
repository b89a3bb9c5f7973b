"""Fine-tuning: what is taken over, what starts anew, what stays, and what is refused."""

import dataclasses
import json
import logging
import shutil

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax.traverse_util import flatten_dict, unflatten_dict

import rir_jax
from rir_jax import Dataset, InputError, Split, loop
from rir_jax.data import sources
from rir_jax.runs.metrics import read_metrics
from rir_jax.runs.workdir import Workdir
from rir_jax.trained import pretrained
from rir_jax.trained.transfer import read_source, take_over
from rir_jax.training import objective
from tests.commands import assert_one_line
from tests.training.tiny import tiny_config

FROZEN = ("stem", "stage1")


@pytest.fixture(scope="module")
def weights(finished, tmp_path_factory):
    """The finished run as a folder of weights."""
    folder = tmp_path_factory.mktemp("weights") / "digits"
    rir_jax.save_pretrained(folder, *rir_jax.load(finished))
    return folder


@pytest.fixture(scope="module")
def source(weights):
    return read_source(weights)


@pytest.fixture(scope="module")
def three():
    """Of the digits, 0, 1 and 2, under names of their own."""
    data = sources.load("digits")
    splits = [split.take(split.labels < 3) for split in (data.train, data.held_out)]
    return Dataset(*splits, ("none", "one", "two"), "three")


def config_of(weights, **fields):
    return tiny_config(init__weights=str(weights), train__batch_size=64, **fields)


def tune(config, workdir, dataset):
    return rir_jax.train_and_evaluate(config, workdir, dataset=dataset)


@pytest.fixture(scope="module")
def tuned(weights, three, tmp_path_factory):
    """A run from the weights with frozen parts, its workdir and summary."""
    workdir = tmp_path_factory.mktemp("runs") / "tuned"
    return workdir, tune(config_of(weights, init__freeze=FROZEN), workdir, three)


def flat(variables):
    return flatten_dict(jax.device_get(variables), sep="/")


@pytest.mark.slow
def test_run_folder_and_name_are_the_same_source(finished, weights, source, monkeypatch):
    monkeypatch.setattr(pretrained, "FOLDER", weights.parent)
    for name in (finished, "digits"):
        other = read_source(name)
        assert (other.digest, other.model) == (source.digest, source.model)
    changed = {n: a + (n == "params/head_dense/bias") for n, a in source.variables.items()}
    assert dataclasses.replace(source, variables=changed).digest != source.digest


def with_classes(*names):
    images = np.zeros((len(names), 8, 8, 1), np.uint8)
    split = Split(images, np.arange(len(names)))
    return Dataset(split, split, names)


DIGITS = tuple("0123456789")


@pytest.mark.parametrize(
    ("dataset", "fields", "anew", "why"),
    [
        (with_classes(*DIGITS), {}, set(), "anew: nothing; frozen: nothing"),
        (with_classes(*DIGITS[:9]), {}, {"head"}, "anew: head (9 classes, not 10)"),
        (with_classes(*"abcdefghij"), {}, {"head"}, "anew: head (other classes)"),
        (with_classes(*DIGITS), {"head": "conv"}, {"head"}, "anew: head (of another kind)"),
        (with_classes(*DIGITS), {"norm_momentum": 0.5}, set(), "anew: nothing"),
    ],
    ids=["the same", "fewer", "others", "another head", "momentum"],
)
def test_what_fits_is_taken_over(source, dataset, fields, anew, why):
    model = source.model.clone(num_classes=len(dataset.class_names), **fields)
    taken, line = take_over(source, model, dataset)
    body = {name for name in source.variables if "/head_" not in name}
    assert set(taken) == (body if "head" in anew else set(source.variables))
    assert "batch_stats/stage1_block1/norm1/var" in taken
    assert all(taken[name] is source.variables[name] for name in taken)
    assert why in line
    assert f"{len(taken)} of " in line


def test_a_stem_of_other_channels_starts_anew(source):
    images = np.zeros((10, 8, 8, 3), np.uint8)
    split = Split(images, np.arange(10))
    dataset = Dataset(split, split, DIGITS)
    taken, line = take_over(source, source.model, dataset)
    assert {name.split("/")[1] for name in source.variables} - {
        name.split("/")[1] for name in taken
    } == {"stem_conv", "stem_norm"}
    assert "anew: stem (3 channels, not 1); frozen: nothing" in line
    with pytest.raises(InputError, match=r"init.freeze names 'stem', which starts anew \(3 chan"):
        take_over(source, source.model, dataset, ("stem",))


@pytest.mark.slow
def test_training_begins_with_what_was_taken_over(source, weights, three):
    config = config_of(weights, train__average_decay=0.9)
    config, read = loop.complete(config, three, Workdir("nowhere"))
    setup = loop.set_up(config, three, read)
    state, fresh = setup.first_state(0), setup.engine.init(0)
    begun, anew = flat(state.variables), flat(fresh.variables)
    for name, value in begun.items():
        expected = anew[name] if "/head_" in name else source.variables[name]
        np.testing.assert_array_equal(value, expected, name)
    chex.assert_trees_all_equal(state.average, state.variables, strict=True)
    assert int(state.step) == 0
    # A run donates all of the stacked state, so nothing of that may be there twice.
    stacked = setup.engine.stack(state)
    jax.block_until_ready(jax.jit(lambda state: state, donate_argnums=0)(stacked))


@pytest.mark.slow
def test_frozen_parts_stay_to_the_bit_and_the_others_learn(tuned, source):
    workdir, _ = tuned
    losses = [r["loss"] for r in read_metrics(Workdir(workdir)) if r["split"] == "train"]
    assert losses[-1] < losses[0]
    _, variables, _ = rir_jax.load(workdir)
    for name, value in flat(variables).items():
        part = name.split("/")[1].split("_")[0]
        if part in FROZEN:
            np.testing.assert_array_equal(value, source.variables[name], name)
        elif part != "head" and not name.endswith("bias"):
            assert np.abs(value - source.variables[name]).max() > 1e-6, name


@pytest.mark.slow
def test_the_run_says_what_it_took_and_of_which_weights_it_is(weights, three, tmp_path, caplog):
    with caplog.at_level(logging.INFO, logger="rir_jax"):
        tune(config_of(weights, train__epochs=1), tmp_path, three)
    lines = [line for line in caplog.messages if line.startswith("starts from")]
    assert len(lines) == 1
    assert f"starts from {weights} (digits, step 22): 25 of 27 entries" in lines[0]
    assert "anew: head (3 classes, not 10); frozen: nothing" in lines[0]
    config = json.loads((tmp_path / "config.json").read_text())
    assert config["init.digest"] == read_source(weights).digest


def stop_after(monkeypatch, times):
    asked = iter([None] * times)
    monkeypatch.setattr(loop.StopRequest, "reason", lambda self: next(asked, "a test"))


@pytest.mark.slow
@pytest.mark.parametrize("where", ["there", "moved", "gone"])
def test_an_interrupted_run_goes_on_wherever_its_weights_are(
    where, tuned, weights, three, tmp_path, monkeypatch
):
    mine = tmp_path / "weights"
    shutil.copytree(weights, mine)
    with monkeypatch.context() as patch:
        stop_after(patch, 2)
        config = config_of(mine, init__freeze=FROZEN)
        assert tune(config, tmp_path / "run", three) is None
    if where == "moved":
        config.init.weights = str(mine.rename(tmp_path / "elsewhere"))
    elif where == "gone":
        shutil.rmtree(mine)
    tune(config, tmp_path / "run", three)
    variables = [rir_jax.load(workdir)[1] for workdir in (tuned[0], tmp_path / "run")]
    chex.assert_trees_all_equal(*variables, strict=True)


@pytest.mark.slow
def test_weights_that_are_gone_cannot_be_started_from(weights, three, tmp_path, monkeypatch):
    mine = tmp_path / "weights"
    shutil.copytree(weights, mine)
    config = config_of(mine)
    with monkeypatch.context() as patch:
        stop_after(patch, 1)
        tune(config, tmp_path / "run", three)
    shutil.rmtree(mine)
    with pytest.raises(InputError, match=r"init.weights is .*weights/config.json cannot be read"):
        tune(config, tmp_path / "another", three)
    assert not (tmp_path / "another").exists()
    shutil.rmtree(tmp_path / "run" / "checkpoints")
    (tmp_path / "run" / "metrics.jsonl").unlink()
    with pytest.raises(InputError, match=r"cannot be read any more, and the run has no checkpoint"):
        tune(config, tmp_path / "run", three)


@pytest.mark.slow
def test_other_weights_are_refused(tuned, weights, three, tmp_path):
    model, variables, info = rir_jax.from_pretrained(weights)
    other = tmp_path / "other"
    rir_jax.save_pretrained(other, model, jax.tree.map(lambda a: a * 1.01, variables), info)
    for wrong in (config_of(other, init__freeze=FROZEN), tiny_config(train__batch_size=64)):
        with pytest.raises(InputError, match=r"init.digest was '\w{16}', now"):
            tune(wrong, tuned[0], three)
    with pytest.raises(InputError, match=r"init.freeze was .*'stem', 'stage1'.* now \(\)"):
        tune(config_of(weights), tuned[0], three)


@pytest.mark.parametrize(
    ("fields", "problem", "allowed"),
    [
        (
            {"widths": (4, 16)},
            r"'params/stage2_block1/conv1/kernel' has shape \(3, 3, 4, 8\), and the config's "
            r"network \(3, 3, 4, 16\)",
            r"model.widths=\(4, 8\)",
        ),
        ({"blocks": (1, 2)}, "'params/stage2_block2/conv1/kernel' is missing", r"blocks=\(1, 1\)"),
        (
            {"layers_per_block": 1},
            "conv2/kernel' has no place in the config's network",
            "model.layers_per_block=2",
        ),
        ({"use_bias": True}, "'params/stem_conv/bias' is missing", "model.use_bias=False"),
        (
            {"two_streams": False, "outer_shortcut": "none"},
            "their shapes fit, but they were trained with another two_streams and outer_shortcut",
            "model.two_streams=True, model.outer_shortcut='pre_relu'",
        ),
    ],
    ids=["width", "depth", "layers", "bias", "family"],
)
def test_another_family_or_width_is_refused(source, fields, problem, allowed):
    model = source.model.clone(**fields)
    with pytest.raises(InputError, match=f"{problem}; allowed with these weights: .*{allowed}"):
        take_over(source, model, with_classes(*DIGITS))


def test_mistakes_get_one_line(command, weights, tmp_path):
    def train(*fields):
        arguments = [f"--config.{field}" for field in fields]
        config = "--config=configs/quickstart.py"
        return command("rir_jax.train", config, f"--workdir={tmp_path / 'run'}", *arguments)

    (tmp_path / "empty").mkdir()
    for fields, message in [
        (["init.weights=nobody"], "init.weights is 'nobody': pretrained network 'nobody' is unk"),
        ([f"init.weights={tmp_path}/empty"], "config.json cannot be read"),
        ([f"init.weights={weights}"], "allowed with these weights: model.stem_width=4, model.wid"),
        ([f"init.weights={weights}", "init.freeze=stem,stage9"], "init.freeze names 'stage9'; all"),
        ([f"init.weights={weights}", "init.freeze=head"], "init.freeze is ('head',); allowed: na"),
        (
            ["init.digest=0123456789abcdef"],
            "is '0123456789abcdef' without init.weights; allowed: un",
        ),
        (["init.digest=no"], "init.digest is 'no'; allowed: 16 hexadecimal digits"),
        (
            ["dataset.digest=0123456789abcdef"],
            "'0123456789abcdef', and none were given; allowed: th",
        ),
        (["init.freeze=stem"], "init.freeze is ('stem',) without init.weights; allowed: ()"),
    ]:
        assert_one_line(train(*fields), message)
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_an_unfinished_run_is_no_source(tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        stop_after(patch, 2)
        rir_jax.train_and_evaluate(tiny_config(), tmp_path)
    with pytest.raises(InputError, match="holds no finished run"):
        read_source(tmp_path)


def test_frozen_batch_norms_are_in_inference(source):
    """With all but the head frozen, training computes what inference does."""
    variables = unflatten_dict(source.variables, sep="/")
    images = jnp.asarray(np.random.default_rng(0).normal(size=(4, 8, 8, 1)), jnp.float32)
    frozen = ("stem", "stage1", "stage2")

    @jax.jit
    def both(variables, images):
        inference = source.model.apply(variables, images)
        training, updates = source.model.apply(
            variables, images, train=True, frozen=frozen, mutable=["batch_stats"]
        )
        free, _ = source.model.apply(variables, images, train=True, mutable=["batch_stats"])
        return inference, training, updates, free

    inference, training, updates, free = both(variables, images)
    np.testing.assert_allclose(training, inference, rtol=1e-5, atol=1e-5)
    assert np.abs(free - inference).max() > 1e-2
    chex.assert_trees_all_equal(updates["batch_stats"], variables["batch_stats"], strict=True)


@pytest.mark.parametrize("decay_identity", [False, True])
def test_the_optimizer_holds_frozen_parts(decay_identity):
    params = {
        name: {"kernel": jnp.ones((2, 2)), "bias": jnp.ones(2)}
        for name in ("stem_conv", "stage1_block1", "stage2_block1", "head_dense")
    }
    optimizer = objective.sgd(
        optax.constant_schedule(0.1),
        momentum=0.9,
        weight_decay=0.5,
        shortcuts=(lambda params: jax.tree.map(jnp.ones_like, params)) if decay_identity else None,
        nesterov=True,
        frozen=FROZEN,
    )
    state, now = optimizer.init(params), params
    for _ in range(3):
        updates, state = optimizer.update(jax.tree.map(jnp.ones_like, params), state, now)
        now = optax.apply_updates(now, updates)
    for name, leaf in flat(now).items():
        held = name.startswith(("stem_", "stage1_"))
        assert np.array_equal(leaf, np.ones_like(leaf)) == held, name
