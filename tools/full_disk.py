"""Fills a run's disk, at ever other moments, and looks at what is lost. Needs root: it mounts.

    sudo python -m tools.full_disk

On a small tmpfs a half-done run is given ever less room to go on in. Each time it must end with one
line that says what could not be written, and go on exactly once there is room again. The last line
is JSON; every other one is about one amount of room.
"""

import argparse
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile
import time

from tools import harness

EPOCHS = 12
ROOMS = (0, 4, 8, 16, 32, 64, 96, 128, 192, 256, 384)  # KiB; a checkpoint takes about 130
SIZE = 8 * 2**20


def attack(folder: pathlib.Path, disk: pathlib.Path, say) -> dict:
    """Runs the attack on a mounted, empty disk and returns what came of it."""
    reference, half = folder / "reference", folder / "half"
    said, code = _run(reference)
    if code:
        raise RuntimeError(said)
    process = harness.start(half, train__epochs=EPOCHS)
    harness.wait_until(lambda: max(harness.steps_of(half), default=0) >= 44, process)
    process.send_signal(signal.SIGTERM)
    harness.output(process)
    result = {"rooms": 0, "clear_errors": 0, "went_well": 0, "failures": []}
    for room in ROOMS:
        for start in (half, None) if room % 64 == 0 else (half,):
            kind = "half-done" if start else "fresh"
            failure, what = _once(reference, start, disk / "run", disk / "ballast", room * 1024)
            say(f"{room} KiB for a {kind} run: {failure or what}")
            result["rooms"] += 1
            result["clear_errors"] += what.startswith("error")
            result["went_well"] += not what.startswith("error")
            if failure:
                result["failures"].append(f"{room} KiB, {kind}: {failure}")
    return result


def _once(reference, start, workdir, ballast, room):
    """One start on a full disk and one with room: what is wrong with them, and what was said."""
    shutil.rmtree(workdir, ignore_errors=True)
    workdir.mkdir()
    if start:
        shutil.copytree(start, workdir, dirs_exist_ok=True)
    before = harness.steps_of(workdir)
    _fill(ballast, room)
    said, code = _run(workdir)
    ballast.unlink()
    lines = [line for line in said.splitlines() if not line.startswith("rir32 on digits")]
    what = lines[-1] if lines else "no error"
    if code:
        clear = code in (1, 2) and len(lines) == 1 and what.startswith("error: ")
        if not clear:
            return f"exit code {code} and {len(lines)} lines: {said[:1000]}", what
        after = harness.steps_of(workdir)
        if before and (len(after) < 2 or after[0] < before[0] or after[0] != _newest(workdir)):
            return f"checkpoints {before} became {after}", what
    said, code = _run(workdir)
    if code:
        return f"with room again, exit code {code}: {said[-500:]}", what
    return "; ".join(harness.differences(reference, workdir)), what


def _newest(workdir):
    """The step of the newest checkpoint that is intact."""
    return int(harness.state_of(workdir).step)


def _fill(ballast, room):
    stats = os.statvfs(ballast.parent)
    with open(ballast, "wb") as file:
        os.posix_fallocate(file.fileno(), 0, stats.f_bavail * stats.f_frsize - room)


def _run(workdir):
    process = harness.start(workdir, train__epochs=EPOCHS)
    return harness.output(process, timeout=300), process.returncode


def main():
    argparse.ArgumentParser(description=__doc__.split("\n")[0]).parse_args()
    if os.geteuid():
        sys.exit("tools.full_disk mounts a tmpfs; run it as root")
    begun = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        disk = pathlib.Path(folder) / "disk"
        disk.mkdir()
        mount = ["mount", "-t", "tmpfs", "-o", f"size={SIZE}", "tmpfs", str(disk)]
        subprocess.run(mount, check=True)
        try:
            result = attack(pathlib.Path(folder), disk, print)
        finally:
            subprocess.run(["umount", str(disk)], check=True)
    result["seconds"] = round(time.monotonic() - begun)
    print(json.dumps(result))
    sys.exit(bool(result["failures"]))


if __name__ == "__main__":
    main()
