"""What the project's files say of one another stays true."""

import configparser
import os
import pathlib
import re
import subprocess

import pytest
import yaml
from packaging.requirements import Requirement

import rir_jax

ROOT = pathlib.Path(__file__).parents[1]


def _requirements():
    """All that setup.cfg asks for, by name."""
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg")
    texts = [config["options"]["install_requires"], *config["options.extras_require"].values()]
    lines = [line.strip() for text in texts for line in text.splitlines() if line.strip()]
    requirements = [Requirement(line) for line in lines]
    # An extra such as jax[cuda12] adds nothing to the bounds of jax.
    return {_name(r.name): r for r in sorted(requirements, key=lambda r: len(r.specifier))}


def _name(text):
    return re.sub(r"[-_.]+", "-", text).lower()


def _pins(file):
    lines = (ROOT / file).read_text().splitlines()
    pairs = [line.split("==") for line in lines if line and not line.startswith("#")]
    return {_name(name): version for name, version in pairs}


def test_exact_versions_are_those_that_setup_allows():
    pins, requirements = _pins("constraints.txt"), _requirements()
    unpinned = {name for name in requirements if name not in pins}
    assert unpinned == {"tensorflow"}, "which only `prepare` needs"
    for name, requirement in requirements.items():
        if name in pins:
            assert requirement.specifier.contains(pins[name]), requirement


def test_the_oldest_versions_tested_are_the_oldest_allowed():
    requirements = _requirements()
    for name, version in _pins("constraints-oldest.txt").items():
        lower = [part.version for part in requirements[name].specifier if part.operator == ">="]
        assert requirements[name].specifier.contains(version)
        assert [_short(bound) for bound in lower] == [_short(version)], name


def _short(version):
    return re.sub(r"(\.0)+$", "", version)


def test_the_citation_is_of_this_version():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert citation["version"] == rir_jax.__version__
    assert citation["preferred-citation"]["title"].startswith("Resnet in Resnet")


def test_quickstart_says_first_what_it_will_do_and_how_long(tmp_path):
    for name in ("setup.cfg", "pyproject.toml", "constraints.txt"):
        (tmp_path / name).touch()
    # Under `make test` the variables of that make would add its own lines to this one's.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
    command = ["make", "-n", "-f", ROOT / "Makefile", "quickstart"]
    printed = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True
    )
    first, second, *rest = printed.stdout.splitlines()
    assert 'echo "Installing into .venv, once: one to two minutes."' in first
    assert 'echo "Training RiR-32' in second
    assert any("pip install" in line for line in rest)


def test_hooks_run_what_lint_runs():
    hooks = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"]
    assert [repository["repo"] for repository in hooks] == ["local"], "no downloads"
    entries = [hook["entry"] for hook in hooks[0]["hooks"]]
    makefile = (ROOT / "Makefile").read_text()
    for entry in entries:
        tool, *words = entry.replace(" --force-exclude", "").split()
        assert " ".join([tool.replace(".venv/bin", "$(BIN)"), *words]) in makefile


@pytest.mark.parametrize("file", ["LICENSE", "CHANGELOG.md", "CONTRIBUTING.md", "rir_jax/py.typed"])
def test_what_a_project_has(file):
    assert (ROOT / file).exists()
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg")
    assert config["options.package_data"]["rir_jax"] == "py.typed"
    assert config["metadata"]["license_files"] == "LICENSE"
