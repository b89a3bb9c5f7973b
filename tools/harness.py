"""The parts that attacks on runs share: they start real runs of a tiny network and compare them.

The network takes milliseconds for a batch of 64 digits, so the start of processes takes most of an
attack's time. Its last stage is just wide enough for orbax to write kernels to separate files.
"""

import json
import os
import pathlib
import socket
import subprocess
import sys
import time

import jax
import numpy as np

from rir_jax import config as configs
from rir_jax import files
from rir_jax.runs.checkpoints import Checkpoints
from rir_jax.runs.workdir import Workdir
from rir_jax.trained.load import read_state

ROOT = pathlib.Path(__file__).resolve().parent.parent
TINY = {
    "model.name": "rir32",
    "model.stem_width": 8,
    "model.widths": (8, 8, 16),
    "model.blocks": (1, 1, 1),
    "model.layers_per_block": 1,
    "dataset.name": "digits",
    "augment.crop_padding": 1,
    "augment.flip": False,
    "train.batch_size": 64,
    "train.epochs": 4,
    "train.log_every_steps": 7,  # does not divide an epoch's 22 steps, so intervals stay open
    "optimizer.learning_rate": 0.05,
    "schedule.milestones": (2, 3),
}
"""Fields of the config of a run that takes a second or two."""


def tiny_config(**fields):
    """The config of `TINY`, with fields in which ``__`` is the dot: ``train__epochs=2``."""
    return configs.from_flat({**TINY, **_dotted(fields)})


def _dotted(fields):
    return {name.replace("__", "."): value for name, value in fields.items()}


def start(workdir, *arguments, devices: int = 1, environment=None, **fields) -> subprocess.Popen:
    """Starts ``python -m rir_jax.train`` on a tiny network; its output is read with `output`.

    Args:
      workdir: the folder of the run.
      *arguments: further arguments of the command line.
      devices: number of simulated devices.
      environment: further environment variables.
      **fields: config fields, as for `tiny_config`.
    """
    overrides = [f"--config.{name}={value}" for name, value in {**TINY, **_dotted(fields)}.items()]
    variables = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "JAX_PLATFORMS": "cpu",
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0.1",
        "XLA_FLAGS": f"--xla_force_host_platform_device_count={devices}",
        **(environment or {}),
    }
    return subprocess.Popen(
        [
            *(sys.executable, "-m", "rir_jax.train", f"--config={ROOT / 'configs/default.py'}"),
            *(f"--workdir={workdir}", *overrides, *arguments),
        ],
        cwd=ROOT,
        env=variables,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def start_several(workdir, count: int = 2, **fields) -> list[subprocess.Popen]:
    """Starts the processes of one run, on one simulated device each."""
    with socket.socket() as probe:
        probe.bind(("localhost", 0))
        address = f"localhost:{probe.getsockname()[1]}"
    shared = (f"--coordinator_address={address}", f"--num_processes={count}")
    return [start(workdir, *shared, f"--process_id={index}", **fields) for index in range(count)]


def output(process: subprocess.Popen, timeout: float = 300) -> str:
    """Waits for the end of a process; returns all that it printed."""
    try:
        return process.communicate(timeout=timeout)[0]
    except subprocess.TimeoutExpired:
        process.kill()
        raise


def wait_until(condition, process: subprocess.Popen, timeout: float = 300) -> bool:
    """Waits until a condition holds; returns False if the process ended before.

    Raises:
      TimeoutError: neither happened in time.
    """
    deadline = time.monotonic() + timeout
    while not condition():
        if process.poll() is not None:
            return False
        if time.monotonic() > deadline:
            process.kill()
            raise TimeoutError(output(process))
        time.sleep(0.0005)
    return True


def being_written(workdir) -> bool:
    """Whether a checkpoint, newer than those that are whole, is half written."""
    newest = max(steps_of(workdir), default=-1)
    names = [folder.name for folder in files.leftovers(files.path(workdir) / "checkpoints")]
    return any(int(name.partition(".")[0]) > newest for name in names)


def steps_of(workdir) -> list[int]:
    """The checkpoints of a run, the newest first."""
    return Checkpoints(files.path(workdir) / "checkpoints").steps()


def state_of(workdir):
    """The state in a run's newest checkpoint, as NumPy arrays."""
    folder = Workdir(workdir)
    state, _ = read_state(folder, folder.config_of_run())
    return jax.tree.map(np.asarray, state)


def records_of(workdir) -> list[dict]:
    """The records of all lines of metrics.jsonl, without the rates, which the clock decides."""
    lines = files.read(files.path(workdir) / "metrics.jsonl").splitlines()
    records = [json.loads(line) for line in lines]
    for record in records:
        del record["images_per_second"]
    return records


def differences(reference, other) -> list[str]:
    """The differences between the states and metrics of two runs, bit for bit, in words."""
    found = []
    states = [jax.tree_util.tree_leaves_with_path(state_of(run)) for run in (reference, other)]
    for (path, expected), (_, value) in zip(*states, strict=True):
        if expected.dtype != value.dtype or expected.tobytes() != value.tobytes():
            found.append(f"array {jax.tree_util.keystr(path)}")
    expected, records = records_of(reference), records_of(other)
    if expected != records:
        found.append(f"metrics: {len(expected)} records against {len(records)}")
    steps = [step for r in records if r["split"] == "train" for step in steps_in(r)]
    if steps != list(range(1, len(steps) + 1)):
        found.append("steps that are not logged exactly once")
    return found


def steps_in(record) -> range:
    """The steps whose mean a record of the training split is."""
    return range(record["step"] - record["steps"] + 1, record["step"] + 1)
