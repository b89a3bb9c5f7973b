"""The metrics of a run, in metrics.jsonl and TensorBoard events: each step exactly once."""

import contextlib
import json
import os
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from rir_jax import files
from rir_jax.devices.processes import is_main_process
from rir_jax.errors import RunError
from rir_jax.runs.background import Background
from rir_jax.runs.events import Events
from rir_jax.runs.workdir import Workdir, write_errors


class MetricsLog:
    """The records of a run; the main process also writes them to metrics.jsonl and TensorBoard.

    The files are copies for people and tools: a resumed run takes its records from its checkpoint
    and writes metrics.jsonl anew. Records that a killed process wrote after that checkpoint are
    therefore gone; TensorBoard is told to drop them. In a bucket, files are uploaded beside the
    training loop.

    Args:
      workdir: the folder of the run.
      records: the records of the steps up to ``step``.
      step: the step that the run resumes from.

    Attributes:
      records: all records so far.

    Raises:
      RunError: a file could not be written; the methods raise it, too.
    """

    def __init__(self, workdir: Workdir, records: Sequence[dict[str, Any]] = (), step: int = 0):
        self.records = list(records)
        self._workdir, self._path = workdir, workdir / "metrics.jsonl"
        self._events = self._uploads = None
        if is_main_process():
            if files.is_remote(workdir.path):
                self._uploads = Background()
                self._upload()
            else:
                self._workdir.write_bytes("metrics.jsonl", _text(self.records))
            self._events = Events(workdir / "tensorboard", step)

    def write(self, record: dict[str, Any]) -> None:
        """Adds a record; `flush` puts it on the disk."""
        self.records.append(record)
        if self._events is not None:
            if self._uploads is None:
                with write_errors(self._path), open(self._path, "a") as file:
                    file.write(_line(record))
            self._events.write(record)

    def describe(self, config: dict[str, Any], examples: np.ndarray, held_out: str) -> None:
        """Describes the run in TensorBoard; see `Events.describe`."""
        if self._events is not None:
            self._events.describe(config, examples, held_out)

    def flush(self) -> None:
        """Puts all records on the disk; in a bucket, begins to upload them for `wait`."""
        if self._events is None:
            return
        self.wait()
        self._events.flush()
        if self._uploads is not None:
            self._upload()
            self._uploads.do(self._events.upload)
        else:
            with write_errors(self._path), open(self._path, "a") as file:
                os.fsync(file.fileno())

    def _upload(self):
        records = list(self.records)
        self._uploads.do(lambda: self._workdir.write_bytes("metrics.jsonl", _text(records)))

    def wait(self) -> None:
        """Waits for the uploads."""
        if self._uploads is not None:
            self._uploads.wait()

    def close(self) -> None:
        """Flushes, waits, and frees files and threads."""
        try:
            self.flush()
            self.wait()
        finally:
            events, self._events = self._events, None
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
    records: list[dict[str, Any]] = []
    with contextlib.suppress(FileNotFoundError, ValueError):
        for line in files.read(workdir / "metrics.jsonl").splitlines():
            record = json.loads(line)
            if not isinstance(record, dict):
                break
            records.append(record)
    return records


def check_losses(
    step: int, losses: np.ndarray, before: Sequence[float], schedule: Callable[[int], Any]
) -> None:
    """Checks that the training losses of the steps up to ``step`` are finite.

    Args:
      step: the last of the steps.
      losses: the loss of each step, before its update.
      before: the losses of the last steps before them, for the message.
      schedule: the learning rate by the number of updates made before.

    Raises:
      RunError: a loss is not finite; with what was seen up to it.

    Examples:
      >>> check_losses(2, np.array([2.3, 2.1]), before=[], schedule=lambda updates: 0.1)
    """
    finite = np.isfinite(losses)
    if finite.all():
        return
    bad = int(finite.argmin())
    at = step - len(losses) + 1 + bad
    last = [*before, *losses[:bad]][-3:]
    past = f", after {', '.join(f'{loss:.4g}' for loss in last)}" if last else ""
    seen = "no update came before, and weights and images are finite: the network overflows"
    if at > 1:
        seen = (
            f"the update before it had a learning rate of {float(schedule(at - 2)):.4g}: a lower "
            "optimizer.learning_rate, in a fresh workdir, shows whether that was too large"
        )
    raise RunError(
        f"the loss became {losses[bad]} at step {at}{past}; the last checkpoint is from before; "
        f"{seen}"
    )


class Intervals:
    """Turns the metrics of single steps into means over fixed intervals.

    Intervals end at multiples of ``every`` steps and at the ends of epochs, however the run is
    cut into calls. A run that is stopped saves within an interval, as steps may be too long to
    wait for its end. Its checkpoint has `open_interval`, so that the resumed run logs the same
    means as an undisturbed one.

    Attributes:
      open_interval: lists "loss" and "accuracy", an entry for each step since the last interval.
    """

    def __init__(self, every: int, steps_per_epoch: int, open_interval=None):
        self._every, self._per_epoch = every, steps_per_epoch
        self.open_interval = open_interval or {"loss": [], "accuracy": []}

    def add(self, step: int, losses: np.ndarray, accuracies: np.ndarray) -> list[dict[str, Any]]:
        """Takes the metrics of the steps up to ``step``; returns the intervals that end there."""
        closed = []
        pairs = zip(losses.tolist(), accuracies.tolist(), strict=True)
        for at, (loss, accuracy) in enumerate(pairs, step - len(losses) + 1):
            self.open_interval["loss"].append(loss)
            self.open_interval["accuracy"].append(accuracy)
            if at % self._every == 0 or at % self._per_epoch == 0:
                steps = len(self.open_interval["loss"])
                means = {name: sum(values) / steps for name, values in self.open_interval.items()}
                closed.append({"step": at, "steps": steps, **means})
                self.open_interval = {"loss": [], "accuracy": []}
        return closed
