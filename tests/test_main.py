"""rir-jax: all commands as one."""

import configparser
import pathlib
import sys

import pytest

import rir_jax
from rir_jax import __main__ as one

ROOT = pathlib.Path(rir_jax.__file__).parents[1]


def _run(monkeypatch, capsys, *arguments):
    monkeypatch.setattr(sys, "argv", ["rir-jax", *arguments])
    code = 0
    try:
        one.main()
    except SystemExit as end:
        code = end.code
    return code, *capsys.readouterr()


def test_it_is_installed_by_its_name():
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg")
    scripts = config["options.entry_points"]["console_scripts"]
    assert scripts.strip() == "rir-jax = rir_jax.__main__:main"


def test_it_has_every_command():
    files = (ROOT / "rir_jax").glob("*.py")
    modules = {path.stem for path in files if "\nFLAGS = " in path.read_text()}
    assert modules == set(one.COMMANDS)


def test_without_a_command_it_lists_them(monkeypatch, capsys):
    code, out, err = _run(monkeypatch, capsys)
    assert (code, err) == (0, "")
    assert [line.split()[1] for line in out.splitlines()[: len(one.COMMANDS)]] == [*one.COMMANDS]
    assert _run(monkeypatch, capsys, "--help") == (code, out, err)


def test_its_version(monkeypatch, capsys):
    expected = (0, f"rir_jax {rir_jax.__version__}\n", "")
    assert _run(monkeypatch, capsys, "--version") == expected


@pytest.mark.usefixtures("command")
def test_a_command_gets_its_arguments(monkeypatch, capsys):
    arguments = ("describe", "--model=rir32", "--num_classes=7")
    code, out, err = _run(monkeypatch, capsys, *arguments)
    assert (code, err) == (0, "")
    assert "463,959" in out
    code, out, err = _run(monkeypatch, capsys, "describe", "--model=rir33")
    assert (code, out, err.count("\n")) == (2, "", 1)


@pytest.mark.usefixtures("command")
def test_help_names_every_field_of_a_config(monkeypatch, capsys):
    code, out, _ = _run(monkeypatch, capsys, "train", "--help")
    assert code == 0
    assert out.startswith("Trains a network: ")
    assert "optimizer.learning_rate" in out


def test_an_unknown_command_gets_one_line(monkeypatch, capsys):
    code, out, err = _run(monkeypatch, capsys, "trian")
    assert (code, out) == (2, "")
    assert err.startswith("error: command 'trian' is unknown; allowed: train, evaluate, ")
    assert err.count("\n") == 1
