"""A run on a disk that is full, with ever other amounts of room. Needs root, to mount one.

Each time, the run ends with one line that says what could not be written, and goes on exactly once
there is room again.
"""

import os
import shutil
import signal
import subprocess

import pytest

from tools import harness

pytestmark = pytest.mark.long
EPOCHS = 12
ROOMS = (0, 4, 8, 16, 32, 64, 96, 128, 192, 256, 384)  # KiB; a checkpoint takes about 130
SIZE = 8 * 2**20


@pytest.fixture(scope="module")
def reference(tmp_path_factory):
    """The folder of the run with all the room it needs."""
    folder = tmp_path_factory.mktemp("reference") / "run"
    said, code = _run(folder)
    assert code == 0, said
    return folder


@pytest.fixture(scope="module")
def half_done(tmp_path_factory):
    """The folder of the run stopped after two epochs or more."""
    folder = tmp_path_factory.mktemp("half") / "run"
    process = harness.start(folder, train__epochs=EPOCHS)
    harness.wait_until(lambda: max(harness.steps_of(folder), default=0) >= 44, process)
    process.send_signal(signal.SIGTERM)
    said = harness.output(process)
    assert process.returncode == 0, said
    return folder


@pytest.fixture
def disk(tmp_path):
    """An empty file system of 8 MiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={SIZE}", "tmpfs", str(folder)]
    subprocess.run(mount, check=True)
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


@pytest.mark.parametrize("room", ROOMS)
def test_a_half_done_run_loses_nothing(room, disk, half_done, reference):
    shutil.copytree(half_done, disk / "run")
    _check(disk, room, reference)


@pytest.mark.parametrize("room", [room for room in ROOMS if room % 64 == 0])
def test_a_fresh_run_loses_nothing(room, disk, reference):
    (disk / "run").mkdir()
    _check(disk, room, reference)


def _check(disk, room, reference):
    workdir = disk / "run"
    before = harness.steps_of(workdir)
    _fill(disk / "ballast", room * 1024)
    said, code = _run(workdir)
    (disk / "ballast").unlink()
    if code:
        lines = [line for line in said.splitlines() if not line.startswith("rir32 on digits")]
        assert code in (1, 2)
        assert len(lines) == 1, said[:1000]
        assert lines[0].startswith("error: ")
        after = harness.steps_of(workdir)
        assert not before or (len(after) >= 2 and after[0] >= before[0])
        assert not before or int(harness.state_of(workdir).step) == after[0], "the newest is intact"
    said, code = _run(workdir)
    assert code == 0, said[-500:]
    assert harness.differences(reference, workdir) == []


def _fill(ballast, room):
    """Leaves ``room`` bytes on the disk."""
    stats = os.statvfs(ballast.parent)
    with open(ballast, "wb") as file:
        os.posix_fallocate(file.fileno(), 0, stats.f_bavail * stats.f_frsize - room)


def _run(workdir):
    process = harness.start(workdir, train__epochs=EPOCHS)
    return harness.output(process), process.returncode
