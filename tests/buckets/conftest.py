"""An object store's server on this machine, and this process's environment to reach it."""

import contextlib
import pathlib

import pytest

from tools import buckets, harness


def pytest_collection_modifyitems(items):
    here = pathlib.Path(__file__).parent
    for item in items:
        if item.path.is_relative_to(here):
            item.add_marker(pytest.mark.buckets)


@pytest.fixture(scope="session")
def server():
    with buckets.serve() as store, pytest.MonkeyPatch.context() as environment:
        for name, value in store.environment.items():
            environment.setenv(name, value)
        yield store


@pytest.fixture
def store(server):
    """The server, whole and fast again after the test."""
    yield server
    wire = server.wire
    wire.latency, wire.denied, wire.cut, wire.silent, wire.losing = 0.0, False, False, False, None


@pytest.fixture(scope="session")
def finished(server, tmp_path_factory):
    """A finished run in a bucket, by the command line, and the same in a folder; never changed."""
    runs = [f"gs://{buckets.BUCKET}/finished", str(tmp_path_factory.mktemp("finished") / "run")]
    with contextlib.ExitStack() as stack:
        processes = [harness.start(run) for run in runs]
        for process in processes:
            stack.callback(process.kill)
        for process in processes:
            said = harness.output(process)
            assert process.returncode == 0, said
    return runs
