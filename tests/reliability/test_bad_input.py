"""Mistakes: one line that names what was given and what is allowed, and nothing written.

That the commands turn these errors into one line and exit code 2 is tested in
tests/test_command_lines.py.
"""

import pytest

from rir_jax.data import sources
from rir_jax.devices.mesh import create_mesh
from rir_jax.errors import InputError
from rir_jax.loop import train_and_evaluate
from rir_jax.runs.workdir import Workdir
from rir_jax.training.setup import build_model, build_optimizer, check_fits, check_memory
from tests.reliability import fuzz
from tools.harness import tiny_config

MISTAKES = {
    "model": ("model.name", "rir33", "model.name is 'rir33'; allowed: cnn18_wide, cnn32"),
    "dataset": ("dataset.name", "../such", "dataset.name is '../such'; allowed: 'digits' or"),
    "key": ("train.epoch", "3", "'train.epoch' is unknown; did you mean 'train.epochs'?"),
    "group": ("train", "3", "config field 'train' is unknown"),
    "word for a number": ("train.epochs", "few", "train.epochs is 'few'; allowed: a whole number"),
    "fraction": ("train.epochs", "1.5", "train.epochs is '1.5'; allowed: a whole number"),
    "flag": ("augment.flip", "maybe", "augment.flip is 'maybe'; allowed: True or False"),
    "tuple": ("model.widths", "16", "model.widths is 16; allowed: a tuple of whole numbers"),
    "in a tuple": ("model.widths", "(16,'a',64)", "model.widths is (16, 'a', 64); allowed"),
    "negative": ("train.epochs", "-1", "train.epochs is -1; allowed: a whole number from 1"),
    "nan": ("optimizer.learning_rate", "nan", "optimizer.learning_rate is nan; allowed: a nu"),
    "infinite": ("optimizer.weight_decay", "inf", "optimizer.weight_decay is inf; allowed: 0, o"),
    "beyond float32": ("optimizer.learning_rate", "1e39", "is 1e+39; allowed: a number from 1"),
    "odd width": ("model.widths", "(16,33,64)", "model.widths is (16, 33, 64): "),
    "milestones": ("schedule.milestones", "(62,42)", "schedule.milestones is (62, 42); allowed: i"),
    "layers": ("model.layers_per_block", "1000", "allowed: up to 10,000 layers in all"),
    "duration": ("train.time_limit", "soon", "train.time_limit is 'soon'; allowed: seconds, or"),
    "seeds": ("seed", str(2**32), "seed is 4294967296; allowed: a whole number from 0"),
    "code": ("model.widths", "__import__('os')", "model.widths is \"__import__('os')\"; allowed"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_value_that_is_not_allowed(mistake):
    path, value, message = MISTAKES[mistake]
    with pytest.raises(InputError) as error:
        fuzz.parse([(path, value)])
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_of_a_field_given_twice_the_last_value_counts():
    config = fuzz.parse([("model.widths", "(16,16,16)"), ("model.widths", "(32,32,32)")])
    assert config.model.widths == (32, 32, 32)


def test_seeds_beyond_the_last():
    with pytest.raises(InputError, match=r"num_seeds is 2, from seed 4294967295 on; allowed"):
        fuzz.parse([("seed", str(2**32 - 1)), ("num_seeds", "2")])


FITS = {
    "a batch larger than the set": ({"train__batch_size": 1443}, "train.batch_size is 1443; allow"),
    "a batch larger than what is left of the set": (
        {"dataset__num_train": 1},
        "train.batch_size is 64; allowed: up to 1, the training images of 'digits' with "
        "dataset.num_train 1",
    ),
    "a batch not divisible by devices": (
        {"train__batch_size": 65, "mesh__data": 2},
        "train.batch_size is 65; allowed: a multiple of mesh.data, 2",
    ),
    "more devices than there are": ({"mesh__data": 64}, "mesh.data is 64; allowed: up to 8"),
    "padding beyond the image": ({"augment__crop_padding": 9}, "augment.crop_padding is 9; allow"),
    "nothing held out": (
        {"dataset__validation_fraction": 1e-6},
        "dataset.validation_fraction is 1e-06",
    ),
    "a network beyond memory": (
        {"model__stem_width": 2**20, "model__widths": (2**20,) * 3},
        "model.widths is (1048576, 1048576, 1048576), with which training takes at least",
    ),
    "a set that is not prepared": (
        {"dataset__name": "cifar10", "dataset__data_dir": "DIR/absent"},
        "dataset 'cifar10' is not prepared in DIR/absent; prepare it with: python -m rir_jax.",
    ),
}


@pytest.mark.parametrize("mistake", FITS)
def test_a_value_that_does_not_fit_the_data_or_the_devices(mistake, tmp_path):
    fields, message = FITS[mistake]
    fields = {
        k: v.replace("DIR", str(tmp_path)) if k.endswith("dir") else v for k, v in fields.items()
    }
    with pytest.raises(InputError) as error:
        train_and_evaluate(tiny_config(**fields), tmp_path / "run")
    assert message.replace("DIR", str(tmp_path)) in str(error.value)
    assert "\n" not in str(error.value)
    assert list(tmp_path.iterdir()) == [], "nothing is written"


def test_a_batch_beyond_memory():
    config = tiny_config(train__batch_size=2**20)
    with pytest.raises(InputError, match=r"train.batch_size is 1048576, with which .* 4.0; allow"):
        check_memory(config, (32, 32, 3), num_devices=1, memory=4 * 2**30)
    check_memory(config, (32, 32, 3), num_devices=64, memory=4 * 2**30)


def test_more_steps_than_are_counted():
    with pytest.raises(InputError, match=r"train.epochs is 1000000, which makes 50000000000 steps"):
        check_fits(tiny_config(train__batch_size=1, train__epochs=10**6), 50_000, (32, 32, 3))


def test_milestones_past_the_end_are_allowed_however_far(setup):
    config = tiny_config(schedule__milestones=(2, 10**12))
    _, schedule = build_optimizer(config, build_model(config, 10), steps_per_epoch=22)
    assert [round(float(schedule(step)), 4) for step in (0, 43, 44)] == [0.05, 0.05, 0.005]


@pytest.mark.slow
def test_another_config_in_the_workdir(reference, setup, tmp_path):
    other = tiny_config(train__epochs=3, mesh__data=1, optimizer__learning_rate=0.1)
    before = {path: path.stat().st_mtime_ns for path in reference.iterdir()}
    with pytest.raises(InputError, match=r"\(optimizer.learning_rate was 0.05, now 0.1\); allowed"):
        train_and_evaluate(other, reference)
    assert before == {path: path.stat().st_mtime_ns for path in reference.iterdir()}


@pytest.mark.parametrize("path", ["", "a\0b", "~nobody_of_that_name/x", "s3://bucket/x", "x" * 300])
def test_a_workdir_that_is_none(path, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=r"workdir|File name too long"):
        Workdir(path).check(tiny_config())
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["~nobody_of_that_name/x", "s3://bucket/x", "x" * 300])
def test_a_data_dir_that_is_none(name, tmp_path):
    with pytest.raises(InputError, match=r"data_dir|not prepared"):
        sources.load("cifar10", name)


@pytest.mark.parametrize("content", ["", "[]", "{", '{"fileFormat": "tfrecord"}'])
def test_a_prepared_set_that_cannot_be_read(content, tmp_path):
    folder = tmp_path / "cifar10/3.0.2"
    folder.mkdir(parents=True)
    (folder / "dataset_info.json").write_text(content)
    with pytest.raises(InputError, match=r"is in format .* not array_record; prepare it with"):
        sources.load("cifar10", tmp_path)


def test_devices_of_a_mesh():
    with pytest.raises(InputError, match=r"mesh.data is 9; allowed: up to 8, the devices here"):
        create_mesh(72, 9)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("cases", "steps"), [(2000, 1), pytest.param(20_000, 20, marks=pytest.mark.long)]
)
def test_overrides_are_refused_in_a_line_or_accepted_and_train(cases, steps):
    result = fuzz.attack(cases, steps, say=print)
    print(result)
    assert result["failures"] == 0
    assert result["refused"] > cases // 4
    assert result["accepted"] > cases // 20
