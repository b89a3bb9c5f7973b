"""Folders that may not be written to, and users without a home: only the caches are missed."""

import json
import os
import subprocess
import sys

import pytest

from tools.harness import ROOT, TINY

pytestmark = pytest.mark.slow

PREDICT = ("rir_jax.predict", str(ROOT / "docs/assets/digit.png"))
# Whose user database has no entry for them, as in many containers.
NOBODY = """
import pwd, runpy, sys
def getpwuid(uid):
    raise KeyError(uid)
pwd.getpwuid = getpwuid
del sys.argv[0]
runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
"""
HOMES = {
    "a home that cannot be": {"HOME": "/proc/none"},
    "a cache that cannot be": {"RIR_JAX_CACHE": "/dev/null/none"},
    "no home": {},
}


def _run(module, *arguments, python=("-m",), prefix=(), **more):
    """A command in a process of its own, where nothing says where a home or a cache is."""
    places = ("HOME", "XDG_CACHE_HOME", "RIR_JAX_CACHE", "JAX_COMPILATION_CACHE_DIR")
    environment = {name: value for name, value in os.environ.items() if name not in places}
    return subprocess.run(
        [*prefix, sys.executable, *python, module, *arguments],
        cwd=ROOT,
        env={**environment, **more},
        capture_output=True,
        text=True,
        timeout=300,
    )


@pytest.mark.parametrize("home", HOMES)
def test_without_a_home_networks_are_trained_and_predict(home, tmp_path):
    python = ("-c", NOBODY) if home == "no home" else ("-m",)
    fields = {**TINY, "train.epochs": 1, "schedule.milestones": ()}
    workdir = f"--workdir={tmp_path / 'run'}"
    training = [f"--config.{name}={value}" for name, value in fields.items()]
    config = f"--config={ROOT / 'configs/default.py'}"
    for command in (("rir_jax.train", config, *training), PREDICT):
        ended = _run(*command, workdir, python=python, **HOMES[home])
        assert ended.returncode == 0, ended.stderr
        assert "Traceback" not in ended.stderr


@pytest.fixture
def read_only(finished):
    """The finished run, which may not be written to, and what takes root's right to do so."""
    folders = [finished, *(path for path in finished.rglob("*") if path.is_dir())]
    for folder in folders:
        folder.chmod(0o555)
    yield finished, ("setpriv", "--bounding-set=-dac_override") if os.getuid() == 0 else ()
    for folder in folders:
        folder.chmod(0o755)


def test_in_a_folder_that_may_not_be_written_to_figures_are_printed(read_only):
    workdir, prefix = read_only
    names = sorted(path.name for path in workdir.iterdir())
    accuracy = json.loads((workdir / "summary.json").read_text())["test_accuracy"]
    ended = _run("rir_jax.evaluate", f"--workdir={workdir}", prefix=prefix)
    assert ended.returncode == 0, ended.stderr
    assert json.loads(ended.stdout)["accuracy"] == pytest.approx(accuracy)
    assert "confusion.png and mistakes.png could not be drawn: " in ended.stderr
    assert "Traceback" not in ended.stderr
    ended = _run(*PREDICT, f"--workdir={workdir}", prefix=prefix)
    assert ended.returncode == 0, ended.stderr
    assert sorted(path.name for path in workdir.iterdir()) == names
