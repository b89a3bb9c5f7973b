"""The packages are layers: what is lower imports nothing of what is above it."""

import ast
import pathlib
import subprocess
import sys

import pytest

PACKAGE = pathlib.Path(__file__).parents[1] / "rir_jax"
# Without the configs: a link in a clone, a copy in the source archive.
MODULES = [p for p in sorted(PACKAGE.rglob("*.py")) if PACKAGE / "configs" not in p.parents]

# From the top down; those on one line do not know each other.
LAYERS = (
    ("__init__", "__main__"),
    ("train", "evaluate", "predict", "compare", "export", "describe", "prepare"),
    ("cli",),
    ("loop",),
    ("interop",),
    ("trained",),
    ("runs",),
    ("training",),
    ("pictures", "analysis"),
    ("data",),
    ("config",),
    ("typed_config",),
    ("config_fields",),
    ("models",),
    ("ops", "devices"),
    ("files",),
    ("extras",),
    ("errors", "random_numbers", "version"),
)
LEVELS = {name: -level for level, names in enumerate(LAYERS) for name in names}


def room_of(path: pathlib.Path) -> str:
    """The package or module of ``rir_jax`` that a file belongs to."""
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def rooms_imported(source: str) -> set[str]:
    """The packages and modules of ``rir_jax`` that a source imports, wherever it does so."""
    rooms = set()
    for node in ast.walk(ast.parse(source)):
        modules = []
        if isinstance(node, ast.Import):
            modules = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module == "rir_jax":
            modules = [f"rir_jax.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            modules = [node.module or ""]
        rooms |= {name.split(".")[1] for name in modules if name.startswith("rir_jax.")}
    return rooms


def upward(room: str, source: str) -> set[str]:
    """The rooms that a source of ``room`` must not import."""
    return {
        other for other in rooms_imported(source) if other != room and LEVELS[other] >= LEVELS[room]
    }


def test_every_module_has_a_layer():
    found = {room_of(path) for path in MODULES}
    assert found == set(LEVELS)


@pytest.mark.parametrize("path", MODULES, ids=lambda p: p.name)
def test_no_module_imports_what_is_above_it(path):
    assert not upward(room_of(path), path.read_text())


def test_an_import_from_above_is_seen():
    source = "def f():\n    from rir_jax.runs import workdir\n"
    assert upward("training", source) == {"runs"}
    assert upward("ops", "import rir_jax.devices.mesh") == {"devices"}
    assert upward("trained", source) == set()


def test_models_load_nothing_of_what_trains_them():
    script = "import sys, rir_jax; rir_jax.create_model('rir32'); print(*sys.modules)"
    command = [sys.executable, "-c", script]
    loaded = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    assert "rir_jax.models.network" in loaded
    for name in ("rir_jax.training", "rir_jax.runs", "rir_jax.data", "tensorflow_datasets"):
        assert name not in loaded
    for name in ("orbax", "optax", "matplotlib", "tensorboardX", "sklearn", "ml_collections"):
        assert name not in loaded
