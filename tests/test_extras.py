"""The core is small: what only training or one other use needs comes with an extra."""

import ast
import configparser
import functools
import importlib.metadata
import importlib.util
import pathlib
import re
import sys

import pytest

import rir_jax
from rir_jax import extras
from rir_jax.errors import InputError
from rir_jax.pictures.figure import make_figure

PACKAGE = pathlib.Path(rir_jax.__file__).parent
SETUP = configparser.ConfigParser()
SETUP.read(PACKAGE.parent / "setup.cfg")


def _names(text):
    words = [re.match(r"[\w-]+", line.strip()) for line in text.splitlines() if line.strip()]
    return {word[0].replace("_", "-").lower() for word in words if word}


CORE = _names(SETUP["options"]["install_requires"]) | {"fsspec"}  # which etils[epath] brings


def _imported():
    """The packages that the library's files import, wherever they do so."""
    found = set()
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                found |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                found.add((node.module or "").partition(".")[0])
    return found - set(sys.stdlib_module_names) - {"rir_jax"}


@functools.cache
def _distributions():
    return importlib.metadata.packages_distributions()


def test_the_core_has_nothing_that_only_training_needs():
    assert not CORE & _names(SETUP["options.extras_require"]["train"])
    assert not CORE & {"tensorflow-datasets", "pyarrow", "matplotlib", "scikit-learn"}


@pytest.mark.parametrize("package", sorted(_imported()))
def test_what_is_imported_is_of_the_core_or_of_the_extra_that_is_named(package):
    if package in extras._EXTRAS:
        wanted = _names(SETUP["options.extras_require"][extras._EXTRAS[package]])
    else:
        wanted = CORE
    if importlib.util.find_spec(package) is None:
        assert package.lower() in wanted
    else:
        assert wanted & {name.replace("_", "-").lower() for name in _distributions()[package]}


@pytest.mark.parametrize("package", ["matplotlib", "sklearn", "tensorflow_datasets", "gcsfs"])
def test_a_missing_package_is_named_with_the_command(package, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    extra = "gcs" if package == "gcsfs" else "train"
    with pytest.raises(InputError) as error:
        extras.require("this", package)
    assert str(error.value) == (f"this needs the package {package}: pip install 'rir_jax[{extra}]'")


def test_training_and_pictures_say_what_they_lack(monkeypatch, tmp_path):
    find = importlib.util.find_spec
    lacking = ("matplotlib", "tensorboardX")
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *a: None if name in lacking else find(name, *a)
    )
    with pytest.raises(InputError, match="drawing needs the package matplotlib: pip install"):
        make_figure(1, 1)
    config = rir_jax.default_config()
    config.dataset.name = "digits"
    with pytest.raises(InputError, match="training needs the package tensorboardX: pip install"):
        rir_jax.train_and_evaluate(config, tmp_path / "run")
    assert not (tmp_path / "run").exists()
