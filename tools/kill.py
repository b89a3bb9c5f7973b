"""Kills a run again and again, and compares its result with that of an undisturbed run.

    python -m tools.kill --kills=50
    python -m tools.kill --kills=20 --bucket

With --bucket the killed run is in an object store on this machine, the undisturbed one in a folder.
Every start is a real process, ended by SIGKILL: one half at a random moment, from the start of the
interpreter on, the other half while a checkpoint is being written. The last line is JSON;
``differences`` counts the arrays and records that differ in any bit.
"""

import argparse
import contextlib
import json
import os
import random
import subprocess
import tempfile
import time

from tools import buckets, harness


def attack(
    reference, attacked, kills: int, epochs: int, seed: int = 0, say=lambda line: None
) -> dict:
    """Kills the run in one folder, leaves that in the other alone; returns the JSON's content."""
    begun, draw = time.monotonic(), random.Random(seed)
    fields = {"train__epochs": epochs}
    _finish(harness.start(reference, **fields))
    half_written = 0
    for kill in range(1, kills + 1):
        process = harness.start(attacked, **fields)
        alive = _wait(process, attacked, draw, at_write=kill % 2 == 0)
        if not alive:
            raise RuntimeError(f"the run ended before kill {kill}: {harness.output(process)}")
        process.kill()
        process.communicate()
        caught = harness.being_written(attacked)
        half_written += caught
        steps = harness.steps_of(attacked)
        say(f"kill {kill}: checkpoints {steps}{', one half written' if caught else ''}")
    _finish(harness.start(attacked, **fields))
    found = harness.differences(reference, attacked)
    for difference in found:
        say(f"differs: {difference}")
    return {
        "kills": kills,
        "kills_during_a_checkpoint_write": half_written,
        "steps": harness.steps_of(attacked)[0],
        "records": len(harness.records_of(attacked)),
        "differences": len(found),
        "seconds": round(time.monotonic() - begun),
    }


def _wait(process, workdir, draw, at_write):
    """Waits for the moment to kill; returns False if the run ended before."""
    if at_write:
        newest = max(harness.steps_of(workdir), default=0)
        target = newest + draw.randint(1, 100)  # so that this process completes checkpoints, too

        def begun():
            step = max(harness.steps_of(workdir), default=0)
            return step >= target and harness.being_written(workdir)

        alive = harness.wait_until(begun, process)
        time.sleep(draw.uniform(0, 0.05))
        return alive and process.poll() is None
    try:
        process.wait(timeout=draw.uniform(0, 6))
    except subprocess.TimeoutExpired:
        return True
    return False


def _finish(process):
    said = harness.output(process, timeout=900)
    if process.returncode:
        raise RuntimeError(said)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--bucket", action="store_true")
    options = parser.parse_args()
    with contextlib.ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        attacked = f"{folder}/attacked"
        if options.bucket:
            store = stack.enter_context(buckets.serve())
            os.environ.update(store.environment)
            attacked = f"gs://{buckets.BUCKET}/attacked"
        epochs = (8 if options.bucket else 20) * options.kills
        reference = f"{folder}/reference"
        result = attack(reference, attacked, options.kills, epochs, options.seed, print)
    print(json.dumps(result))


if __name__ == "__main__":
    main()
