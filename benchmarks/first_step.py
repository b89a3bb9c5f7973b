"""Seconds until a fresh process has taken its first training step, by what it does.

    python -m benchmarks.first_step --model=rir32 --batch_size=125

Each round is a process of its own, without a cache of compiled programs. The images are random, of
CIFAR-10's shape. The last lines are rows of docs/performance.md and JSON.
"""

import argparse
import itertools
import json
import os
import statistics
import subprocess
import sys
import time

import numpy as np

from benchmarks.contenders.shared import random_dataset
from benchmarks.rows import row, spread


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="rir32")
    parser.add_argument("--batch_size", type=int, default=125, help="images in a step")
    parser.add_argument("--compute_dtype", default="float32", choices=["float32", "bfloat16"])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--once", action="store_true", help="measure in this process, print JSON")
    arguments = parser.parse_args()
    if arguments.once:
        measured = measure(arguments.model, arguments.batch_size, arguments.compute_dtype)
        print(json.dumps(measured))
        return

    command = [sys.executable, "-m", "benchmarks.first_step", *sys.argv[1:], "--once"]
    uncached = {"JAX_ENABLE_COMPILATION_CACHE": "false"}
    rounds = []
    for _ in range(arguments.rounds):
        done = subprocess.run(command, stdout=subprocess.PIPE, env={**os.environ, **uncached})
        done.check_returncode()
        rounds.append(json.loads(done.stdout))
    device = rounds[0].pop("device")
    by_phase = {name: [seconds[name] for seconds in rounds] for name in rounds[0]}
    by_phase["all"] = [sum(seconds) for seconds in zip(*by_phase.values(), strict=True)]
    results = {name: _summary(seconds) for name, seconds in by_phase.items()}
    what = f"{arguments.model}, batch {arguments.batch_size}, {arguments.compute_dtype}"
    for name, result in results.items():
        print(f"| {name} | {spread(result)} |")
    print(row([what], device).partition("\n")[2])
    print(json.dumps(results))


def _summary(seconds):
    found = {"median": statistics.median(seconds), "least": min(seconds), "most": max(seconds)}
    return {kind: round(value, 2) for kind, value in found.items()}


def measure(model: str, batch_size: int, compute_dtype: str) -> dict[str, float | str]:
    """The seconds of each phase of this process, and "device", where it computed."""
    marks = [("", time.perf_counter())]

    def mark(phase):
        marks.append((phase, time.perf_counter()))

    import jax

    import rir_jax
    from rir_jax.data.pipeline import device_arrays
    from rir_jax.devices.mesh import create_mesh
    from rir_jax.training.setup import build_engine

    mark("import")
    config = rir_jax.default_config()
    config.model.name, config.compute_dtype = model, compute_dtype
    config.train.batch_size = batch_size
    dataset = random_dataset(8 * batch_size)
    mesh = create_mesh(batch_size)
    engine, _ = build_engine(config, 10, len(dataset.train), (32, 32, 3), mesh)
    arrays = device_arrays(dataset, mesh)
    state = jax.block_until_ready(engine.stack(engine.init(0)))
    mark("first parameters: trace and compile")
    arguments = state, arrays, np.zeros(1, np.uint32), np.int32(1)
    lowered = engine.train.lower(*arguments)
    mark("the training loop: trace and lower")
    train = lowered.compile()
    mark("the training loop: compile")
    jax.block_until_ready(train(*arguments))
    mark("first step")
    pairs = itertools.pairwise(marks)
    seconds = {phase: round(end - begin, 2) for (_, begin), (phase, end) in pairs}
    return {**seconds, "device": f"{mesh.size} x {mesh.devices.flat[0].device_kind}"}


if __name__ == "__main__":
    main()
