"""Eight simulated devices, and programs compiled once for all test runs."""

import os
import subprocess
import venv

os.environ["XLA_FLAGS"] = (
    os.environ.get("XLA_FLAGS", "") + " --xla_force_host_platform_device_count=8"
)
os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", os.path.abspath(".jax_cache"))
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0.2")

import jax  # after the settings above
import pytest

from tests.commands import command  # noqa: F401 (a fixture)

collect_ignore = ["peers"]  # these need torch: `make test-peers`


def pytest_collection_modifyitems(items):
    for item in items:
        if isinstance(item, pytest.DoctestItem):
            item.add_marker(pytest.mark.slow)


@pytest.fixture(scope="module")
def float64():
    """Double precision for a module of proofs: ``pytestmark = usefixtures("float64")``."""
    with jax.enable_x64(True):
        yield


@pytest.fixture(scope="session")
def bare_python(tmp_path_factory):
    """The Python of an environment that has nothing but jax and flatbuffers."""
    folder = tmp_path_factory.mktemp("bare")
    venv.create(folder, with_pip=True)
    python = folder / "bin" / "python"
    install = [python, "-m", "pip", "install", "-q", "-c", "constraints.txt", "jax", "flatbuffers"]
    subprocess.run(list(map(str, install)), check=True)
    return python
