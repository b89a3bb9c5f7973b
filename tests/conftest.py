"""Eight simulated devices, programs compiled once and quickly, and JAX at its strictest."""

import os
import subprocess
import venv

from tests.compiling import FAST_FLAGS

# What a command does as a process of its own is tested without fast compilation, too.
os.environ["XLA_FLAGS"] = " ".join(
    [os.environ.get("XLA_FLAGS", ""), "--xla_force_host_platform_device_count=8", FAST_FLAGS]
)
os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", os.path.abspath(".jax_cache"))
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0.2")
os.environ["JAX_NUMPY_RANK_PROMOTION"] = "raise"  # also of the processes that tests start

import jax  # after the settings above
import pytest

from rir_jax.runs.run import Run
from tests.commands import command  # noqa: F401 (a fixture)

collect_ignore = ["peers", "types"]  # need torch, `make test-peers`; are read by type checkers


def pytest_collection_modifyitems(items):
    for item in items:
        if isinstance(item, pytest.DoctestItem):
            item.add_marker(pytest.mark.slow)


@pytest.fixture(scope="module")
def float64():
    """Double precision for a module of proofs: ``pytestmark = usefixtures("float64")``."""
    with jax.enable_x64(True):
        yield


@pytest.fixture(autouse=True, scope="session")
def nothing_is_sent_to_devices_while_training():
    """Around every training loop, with its evaluations and checkpoints, in this process."""
    train_until = Run.train_until

    def guarded(self, step):
        with jax.transfer_guard_host_to_device("disallow"):
            train_until(self, step)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Run, "train_until", guarded)
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
