"""Times how long the training loop waits for a bucket, beside the same run in a folder.

    python -m tools.latency --milliseconds=20

Every request to the object store, a server on this machine, arrives that much later. The last line
is JSON, medians over epochs in milliseconds: a training step; the end of an epoch (a last step, the
evaluation, and the part of a checkpoint that the loop waits for); and then, with nothing else to
do, the time until the checkpoint is whole and all files are uploaded.
"""

import argparse
import itertools
import json
import os
import statistics
import tempfile
import time

import jax

from rir_jax.runs.interrupt import StopRequest
from rir_jax.runs.run import Run
from rir_jax.runs.workdir import Workdir
from rir_jax.training.setup import build
from tools import buckets, harness


def measure(setup, workdir, epochs: int) -> dict[str, float]:
    """The medians over the epochs of a run without the first, in milliseconds."""
    folder, seed = Workdir(workdir), setup.config.seed
    per_epoch = setup.engine.batches.steps_per_epoch
    found: dict[str, list[float]] = {"step": [], "end of an epoch": [], "until all is saved": []}
    with folder.open(setup.config), Run(setup, {seed: folder}, StopRequest()) as run:
        for epoch in range(1, epochs + 1):
            times = [time.monotonic()]
            run.train_until(epoch * per_epoch - 1)
            jax.block_until_ready(jax.live_arrays())
            times.append(time.monotonic())
            run.train_until(epoch * per_epoch)
            times.append(time.monotonic())
            run.wait()
            times.append(time.monotonic())
            steps, end, saved = (b - a for a, b in itertools.pairwise(times))
            for name, value in zip(found, (steps / (per_epoch - 1), end, saved), strict=True):
                found[name].append(1000 * value)
    return {name: round(statistics.median(values[1:]), 1) for name, values in found.items()}


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--milliseconds", type=float, default=20)
    parser.add_argument("--epochs", type=int, default=8)
    options = parser.parse_args()
    setup = build(harness.tiny_config(train__epochs=options.epochs + 1))
    with (
        tempfile.TemporaryDirectory() as folder,
        buckets.serve(latency=options.milliseconds / 1000) as store,
    ):
        os.environ.update(store.environment)
        places = {"folder": f"{folder}/run", "bucket": f"gs://{buckets.BUCKET}/run"}
        result = {name: measure(setup, place, options.epochs) for name, place in places.items()}
    print(json.dumps(result))


if __name__ == "__main__":
    main()
