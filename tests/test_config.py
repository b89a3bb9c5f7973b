"""The config's fields, and how a command line sets them."""

import copy as copies
import importlib
import pathlib
import pickle
import sys

import numpy as np
import pytest

from rir_jax import cli, config_fields, train, typed_config
from rir_jax import config as configs
from rir_jax.errors import InputError
from tools.typed_config import source

QUICKSTART = "--config=configs/quickstart.py"


def load(*arguments):
    """The config of a command line, and the arguments that are no flags."""
    values = cli.flags.FlagValues()
    flag = cli.define_config(values)
    _, *rest = cli.parse(["train", *arguments], values)
    return flag.load(), rest


@pytest.mark.parametrize("path", config_fields.FIELDS)
def test_a_field_has_a_line_of_documentation_and_a_default_that_is_allowed(path):
    field = config_fields.FIELDS[path]
    assert field.doc[0].islower() or field.doc.split()[0] in ("Nesterov's", "1x1")
    assert "\n" not in field.doc
    assert not field.doc.endswith(".")
    configs.from_flat({path: field.default})


def test_help_lists_every_field(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["train", "--help"])
    cli.start(train.main, train.FLAGS)
    text = capsys.readouterr().out
    assert "--workdir: " in text
    assert "--undefok" not in text, "of absl's own"
    for path, field in config_fields.FIELDS.items():
        default = "unset" if field.default is None else field.default
        assert f"  {path} ({field.type.__name__}, {default})\n    {field.doc}; allowed: " in text


@pytest.mark.parametrize(
    ("arguments", "path", "value"),
    [
        (["--config.train.epochs=3"], "train.epochs", 3),
        (["-config.train.epochs", "3"], "train.epochs", 3),
        (["--config.optimizer.learning_rate=1"], "optimizer.learning_rate", 1.0),
        (["--config.model.widths=(4, 8)"], "model.widths", (4, 8)),
        (["--config.augment.flip"], "augment.flip", True),
        (["--config.augment.flip=TRUE"], "augment.flip", True),
        (["--noconfig.augment.flip"], "augment.flip", False),
        (["--config.augment.flip", "--config.augment.flip=f"], "augment.flip", False),
        (["--", "--config.train.epochs=3"], "train.epochs", 20),
    ],
)
def test_ways_to_set_a_field(arguments, path, value):
    config, rest = load(QUICKSTART, *arguments)
    found = configs.flatten(config)[path]
    assert (found, type(found)) == (value, type(value))
    assert rest == (arguments[1:] if arguments[0] == "--" else [])
    assert config.model.name == "rir32", "the rest is the file's"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--noconfig.train.epochs=3"], "Unknown command line flag 'noconfig.train.epochs'"),
        (["--config.train.epochs"], "train.epochs is ''; allowed: a whole number"),
        (["--config.=3"], "config field '' is unknown"),
        (["--config.augment.flip="], "augment.flip is ''; allowed: True or False"),
    ],
)
def test_ways_that_set_none(arguments, message):
    with pytest.raises(InputError, match=message.replace(".", r"\.")):
        load(QUICKSTART, *arguments)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "No such file"),
        ("x = 1", "gives no config; allowed: a Python file with a get_config"),
        ("def get_config(): return 3", "gives no config"),
        ("def get_config(): return 1 / 0", "ZeroDivisionError: division by zero"),
        ("def get_config(:", "SyntaxError"),
        (
            "import rir_jax\ndef get_config():\n    config = rir_jax.default_config()\n"
            "    config.train.epoch = 3\n    return config",
            r"config field 'epoch' is unknown; did you mean 'train\.epochs'\? allowed",
        ),
    ],
)
def test_a_file_that_holds_no_config(content, message, tmp_path):
    path = tmp_path / "mine.py"
    if content is not None:
        path.write_text(content)
    with pytest.raises(InputError, match=message) as error:
        load(f"--config={path}")
    assert f"--config={path}" in str(error.value)


@pytest.mark.parametrize("path", sorted({*config_fields.FIELDS} - {"dataset.name"}))
def test_none_unsets_a_field_that_may_be_unset(path):
    if config_fields.FIELDS[path].default is None:
        assert config_fields.parse_text(path, "None") is None
    else:
        with pytest.raises(InputError, match=f"{path} is '?None'?; allowed: "):
            config_fields.parse_text(path, "None")


def test_none_unsets_what_the_file_set(tmp_path):
    lines = (
        "from rir_jax import default_config",
        "def get_config():",
        "    config = default_config()",
        "    config.compute_dtype, config.train.time_limit = 'bfloat16', '9m'",
        "    return config",
    )
    (tmp_path / "c[1].py").write_text("\n".join(lines))
    chosen = f"--config={tmp_path}/c[1].py"
    unset = ("--config.compute_dtype=None", "--config.train.time_limit", "None")
    assert [load(chosen)[0].compute_dtype, load(chosen)[0].train.time_limit] == ["bfloat16", "9m"]
    config, _ = load(chosen, *unset)
    assert (config.compute_dtype, config.train.time_limit) == (None, None)


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ("optimizer.lr", "optimizer.learning_rate"),
        ("optimizer.wd", "optimizer.weight_decay"),
        ("train.bs", "train.batch_size"),
        ("learning_rate", "optimizer.learning_rate"),
        ("optimizer.epochs", "train.epochs"),
        ("schedule.gamma", "schedule.factor"),
        ("train.epoch", "train.epochs"),
    ],
)
def test_an_unknown_field_is_taken_for_what_is_meant(given, meant):
    with pytest.raises(InputError, match=f"'{given}' is unknown; did you mean '{meant}'"):
        config_fields.parse_text(given, "1")


def test_an_unknown_field_in_python_is_taken_for_what_is_meant():
    config = configs.default_config()
    for holder, name, meant in (
        (config, "lr", "optimizer.learning_rate"),
        (config.train, "epoch", "train.epochs"),
        (config.train, "bs", "train.batch_size"),
    ):
        message = f"^config field '{name}' is unknown; did you mean '{meant}'"
        with pytest.raises(AttributeError, match=message):
            setattr(holder, name, 1)
        with pytest.raises(AttributeError, match=message):
            getattr(holder, name)
        assert not hasattr(holder, name)


def test_a_config_can_be_copied_and_pickled():
    config = configs.default_config()
    config.train.epochs = 3
    for copy in (pickle.loads(pickle.dumps(config)), copies.deepcopy(config)):
        assert type(copy) is configs.Config
        assert copy == config


def test_a_name_that_two_fields_have_is_taken_for_either():
    with pytest.raises(InputError) as error:
        config_fields.parse_text("batch_size", "128")
    assert str(error.value) == (
        "config field 'batch_size' is unknown; did you mean 'train.batch_size' or "
        "'eval.batch_size'? allowed: the fields that train --help lists"
    )


def test_another_name_of_a_field_is_of_one_field_and_no_field_itself():
    names = [name for others in config_fields.ALSO_CALLED.values() for name in others]
    assert len(set(names)) == len(names)
    assert set(config_fields.ALSO_CALLED) <= set(config_fields.FIELDS)
    assert not {path.rpartition(".")[2] for path in config_fields.FIELDS} & set(names)


def test_messages_say_how_to_give_one_milestone_and_how_to_unset_a_field():
    with pytest.raises(InputError, match=r"milestones is 2; allowed: .* \(2,\) for one or \(\)"):
        config_fields.parse_text("schedule.milestones", "2")
    with pytest.raises(InputError, match=r"num_train is 'all'; allowed: .*; None unsets it"):
        config_fields.parse_text("dataset.num_train", "all")


def test_a_config_prints_what_differs_from_the_defaults():
    config = configs.default_config()
    assert str(config) == repr(config) == "Config()"
    config.model.widths, config.train.epochs = (4, 8, 8), 3
    assert str(config) == "Config(model.widths=(4, 8, 8), train.epochs=3)"
    for path, field in config_fields.FIELDS.items():
        if path.startswith("model.") and field.type is tuple:
            config.model[path[6:]] = tuple(range(1, 900))
    assert len(str(config)) < 270
    assert config.copy_and_resolve_references() == config


def test_the_types_of_the_config_are_those_of_the_fields():
    assert pathlib.Path(typed_config.__file__).read_text() == source(), (
        "python -m tools.typed_config"
    )


def test_a_config_by_name_works_anywhere(tmp_path, monkeypatch):
    by_path, _ = load("--config=configs/cifar100_rir18_wide.py")
    monkeypatch.chdir(tmp_path)
    assert load("--config=quickstart")[0].dataset.name == "digits"
    assert load("--config=cifar100_rir18_wide")[0] == by_path
    with pytest.raises(InputError, match="--config=quickstar is unknown; did you mean 'quickstart"):
        load("--config=quickstar")


def test_every_config_has_a_name_and_is_a_module():
    files = {path.stem for path in pathlib.Path("configs").glob("*.py")} - {"__init__"}
    assert set(cli.list_configs()) == files
    for name in files:
        module = importlib.import_module(f"rir_jax.configs.{name}")
        configs.validate(module.get_config())
        assert f"--config={name} " in module.__doc__ or name == "default"


def test_numpy_numbers_may_stand_where_python_ones_may():
    config = configs.default_config()
    config.seed = np.int64(3)
    config.augment.mixup = np.float32(0.5)
    config.augment.flip = np.bool_(False)
    config.model.widths = np.array([96, 96, 192])
    config.train["epochs"] = np.uint8(2)
    config.update({"train": {"batch_size": np.int32(50)}})
    configs.validate(config)
    values = config.seed, config.augment.mixup, config.augment.flip, config.model.widths
    assert values == (3, 0.5, False, (96, 96, 192))
    assert [type(value) for value in values] == [int, float, bool, tuple]
    assert (config.train.epochs, config.train.batch_size) == (2, 50)
