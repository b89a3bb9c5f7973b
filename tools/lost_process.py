"""Loses one of two processes of a run and measures how long the other takes to stop.

    python -m tools.lost_process

Three losses: the worker is killed, the process that leads is killed, the worker freezes (SIGSTOP,
as a machine that is cut off would look). The last line is JSON, with seconds and exit codes.
"""

import argparse
import json
import pathlib
import signal
import sys
import tempfile
import time

from tools import harness

LOSSES = {
    "worker killed": (1, signal.SIGKILL),
    "leader killed": (0, signal.SIGKILL),
    "worker frozen": (1, signal.SIGSTOP),
}


def lose(workdir, victim: int, number: signal.Signals) -> dict:
    """Starts two processes, loses one after its first checkpoint, and waits for the other."""
    pair = harness.start_several(workdir, train__epochs=1000)
    saved = harness.wait_until(lambda: max(harness.steps_of(workdir), default=0) > 0, pair[0])
    if not saved:
        raise RuntimeError(harness.output(pair[0]))
    pair[victim].send_signal(number)
    begun = time.monotonic()
    other = pair[1 - victim]
    said = harness.output(other, timeout=300)
    seconds = time.monotonic() - begun
    pair[victim].kill()
    harness.output(pair[victim])
    print(said[-600:])
    return {"seconds": round(seconds, 1), "exit_code": other.returncode}


def main():
    argparse.ArgumentParser(description=__doc__.split("\n")[0]).parse_args()
    result = {}
    with tempfile.TemporaryDirectory() as folder:
        for name, (victim, number) in LOSSES.items():
            result[name] = lose(pathlib.Path(folder) / name.replace(" ", "_"), victim, number)
    print(json.dumps(result))
    sys.exit(any(loss["exit_code"] == 0 for loss in result.values()))


if __name__ == "__main__":
    main()
