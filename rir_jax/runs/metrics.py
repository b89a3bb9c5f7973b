"""metrics.jsonl and TensorBoard events: each step is logged exactly once."""

import contextlib
import json
import math
import os
from collections.abc import Sequence
from typing import Any

import numpy as np

from rir_jax import files
from rir_jax.devices.processes import is_main_process
from rir_jax.errors import RunError
from rir_jax.runs.background import Background
from rir_jax.runs.events import Events
from rir_jax.runs.workdir import Workdir, write_errors


class MetricsLog:
    """Adds records to metrics.jsonl and TensorBoard events; except in the main process, to memory.

    The files are copies for people and tools: a resumed run takes the past from its checkpoint and
    writes metrics.jsonl anew. So anything that a killed process wrote after that checkpoint is
    gone from it; TensorBoard is told to drop it. In a bucket, files are uploaded beside the
    training loop.

    Args:
      workdir: of the run.
      records: of the steps up to ``step``.
      step: the step that the run goes on from.

    Attributes:
      records: all records so far.

    Raises:
      RunError: also from the methods, if a file could not be written.
    """

    def __init__(self, workdir: Workdir, records: Sequence[dict[str, Any]] = (), step: int = 0):
        self.records = list(records)
        self._workdir, self._path = workdir, workdir / "metrics.jsonl"
        self._file = self._events = self._uploads = None
        if is_main_process():
            if files.is_remote(workdir.path):
                self._uploads = Background()
                self._upload()
            else:
                self._workdir.write_bytes("metrics.jsonl", _text(self.records))
                with write_errors(self._path):
                    self._file = open(self._path, "a")  # noqa: SIM115 (open for the whole run)
            self._events = Events(workdir / "tensorboard", step)

    def write(self, record: dict[str, Any]) -> None:
        """Adds a record, which `flush` puts on the disk."""
        self.records.append(record)
        if self._file is not None:
            with write_errors(self._path):
                self._file.write(_line(record))
                self._file.flush()
        if self._events is not None:
            self._events.write(record)

    def describe(self, config: dict[str, Any], examples: np.ndarray, held_out: str) -> None:
        """Describes the run in TensorBoard; see `Events.describe`."""
        if self._events is not None:
            self._events.describe(config, examples, held_out)

    def flush(self) -> None:
        """Puts all records on the disk; in a bucket, begins to upload them (see `wait`)."""
        if self._events is None:
            return
        self.wait()
        self._events.flush()
        if self._uploads is not None:
            self._upload()
            self._uploads.do(self._events.upload)
        elif self._file is not None:
            with write_errors(self._path):
                os.fsync(self._file.fileno())

    def _upload(self):
        records = list(self.records)
        self._uploads.do(lambda: self._workdir.write_bytes("metrics.jsonl", _text(records)))

    def wait(self) -> None:
        """Waits for the uploads."""
        if self._uploads is not None:
            self._uploads.wait()

    def close(self) -> None:
        """Flushes, waits, and frees the files."""
        try:
            self.flush()
            self.wait()
        finally:
            file, events, self._file, self._events = self._file, self._events, None, None
            if file is not None:
                with contextlib.suppress(OSError):  # flush has raised
                    file.close()
            if self._uploads is not None:
                with contextlib.suppress(RunError):  # wait has raised
                    self._uploads.close()
            if events is not None:
                events.close()


def _text(records):
    return "".join(map(_line, records)).encode()


def _line(record):
    return json.dumps(record, allow_nan=False) + "\n"


def read_metrics(workdir: Workdir) -> list[dict[str, Any]]:
    """The records of metrics.jsonl up to a damaged line."""
    try:
        lines = files.read(workdir / "metrics.jsonl").splitlines()
    except FileNotFoundError:
        return []
    records = []
    for line in lines:
        try:
            record = json.loads(line)
        except ValueError:
            break
        if not isinstance(record, dict):
            break
        records.append(record)
    return records


def advice(updates: int) -> str:
    """What to try when a number is not finite.

    Examples:
      >>> advice(updates=0)
      'No update was made before: the first weights or the images make it so'
    """
    if not updates:
        return "No update was made before: the first weights or the images make it so"
    return "A lower optimizer.learning_rate or momentum, in a fresh workdir, may help"


class Intervals:
    """Turns the metrics of single steps into means over fixed intervals.

    Intervals end at multiples of ``every`` steps and at the ends of epochs, however the run is
    cut into calls. A run that is stopped saves within an interval, as steps may be too long to
    wait for its end. Its checkpoint holds `open_interval`, so that the resumed run logs the same
    means as an undisturbed one.

    Attributes:
      open_interval: "loss" and "accuracy" of each step since the last interval's end.
    """

    def __init__(self, every: int, steps_per_epoch: int, open_interval=None):
        self._every, self._per_epoch = every, steps_per_epoch
        self.open_interval = open_interval or {"loss": [], "accuracy": []}

    def add(self, step: int, losses: np.ndarray, accuracies: np.ndarray) -> list[dict[str, Any]]:
        """Takes the metrics of the steps up to ``step``; returns the intervals that end there.

        Raises:
          RunError: a loss is not finite.
        """
        closed = []
        first = step - len(losses) + 1
        pairs = zip(losses.tolist(), accuracies.tolist(), strict=True)
        for at, (loss, accuracy) in enumerate(pairs, first):
            if not math.isfinite(loss):
                before = ", ".join(f"{past:.4g}" for past in self.open_interval["loss"][-3:])
                raise RunError(
                    f"the loss became {loss} at step {at} (steps {first} to {step} were run "
                    f"together{before and f'; before, it was {before}'}); the last checkpoint is "
                    f"from before. {advice(updates=at - 1)}"
                )
            self.open_interval["loss"].append(loss)
            self.open_interval["accuracy"].append(accuracy)
            if at % self._every == 0 or at % self._per_epoch == 0:
                closed.append(self._close(at))
        return closed

    def _close(self, step):
        means = {name: sum(values) / len(values) for name, values in self.open_interval.items()}
        steps = len(self.open_interval["loss"])
        self.open_interval = {"loss": [], "accuracy": []}
        return {"step": step, "steps": steps, **means}
