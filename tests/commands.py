"""Command lines run in this process, as ``python -m`` would, for speed."""

import logging
import pathlib
import runpy
import sys

import pytest

import rir_jax


@pytest.fixture
def command(monkeypatch, capsys):
    """``command(module, *arguments)`` to its exit code, stdout and stderr."""
    ours = logging.getLogger("rir_jax")
    before = ours.handlers[:], ours.propagate, ours.level

    def run(module, *arguments):
        monkeypatch.setattr(sys, "argv", [module, *map(str, arguments)])
        code = 0
        try:
            runpy.run_path(str(_path(module)), run_name="__main__")
        except SystemExit as end:
            code = end.code
        return code, *capsys.readouterr()

    yield run
    ours.handlers[:], ours.propagate = before[:2]
    ours.setLevel(before[2])


def _path(module):
    return pathlib.Path(rir_jax.__file__).parents[1].joinpath(*module.split(".")).with_suffix(".py")


def assert_one_line(result, message):
    """That a command refused its input as all do: one line on stderr, exit code 2."""
    code, out, err = result
    assert (code, out) == (2, ""), err
    assert err.startswith("error: ")
    assert message in err
    assert err.count("\n") == 1
