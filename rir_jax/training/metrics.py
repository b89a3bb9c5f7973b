"""metrics.jsonl and TensorBoard events: what was measured, each step counted exactly once."""

import json
import math
import os
from typing import Any

import numpy as np

from rir_jax.errors import RunError
from rir_jax.workdir import Workdir


class MetricsLog:
    """Appends records to metrics.jsonl and to TensorBoard events.

    Args:
      workdir: of the run.
      step: where the run goes on: later records, of steps that will be taken again, are cut off.
    """

    def __init__(self, workdir: Workdir, step: int):
        from tensorboardX import SummaryWriter  # slow to import: only by who writes

        self._path = workdir / "metrics.jsonl"
        self.records = [record for record in read_metrics(workdir) if record["step"] <= step]
        self._lines = [json.dumps(record) for record in self.records]
        self._remote = "://" in str(workdir.path)
        workdir.write_bytes("metrics.jsonl", "".join(f"{x}\n" for x in self._lines).encode())
        self._events = SummaryWriter(str(workdir / "tensorboard"), purge_step=step + 1)

    def write(self, record: dict[str, Any]) -> None:
        """Adds a record. It is on the disk after `flush`."""
        line = json.dumps(record, allow_nan=False)
        self.records.append(record)
        self._lines.append(line)
        if not self._remote:
            with open(self._path, "a") as file:
                file.write(line + "\n")
        for name in ("loss", "accuracy", "learning_rate", "images_per_second"):
            if record.get(name) is not None:
                tag = f"{record['split']}/{name}"
                self._events.add_scalar(tag, record[name], global_step=record["step"])

    def flush(self) -> None:
        """Puts all records on the disk, for good."""
        if self._remote:
            self._path.write_text("".join(f"{line}\n" for line in self._lines))
        else:
            with open(self._path) as file:
                os.fsync(file.fileno())
        self._events.flush()

    def close(self) -> None:
        self.flush()
        self._events.close()


def read_metrics(workdir: Workdir) -> list[dict[str, Any]]:
    """The records of metrics.jsonl; a torn last line, from a killed process, is left out."""
    path = workdir / "metrics.jsonl"
    if not path.exists():
        return []
    records = []
    for line in path.read_text().splitlines():
        try:
            records.append(json.loads(line))
        except ValueError:
            break
    return records


class Intervals:
    """Gathers the metrics of single steps into the means of fixed intervals.

    Intervals end at multiples of ``every`` steps and at the ends of epochs, however the run was
    cut into calls. An interval that is open at a checkpoint goes into it (`open_interval`).
    """

    def __init__(self, every: int, steps_per_epoch: int, open_interval=None):
        self._every, self._per_epoch = every, steps_per_epoch
        self.open_interval = open_interval or {"loss": [], "accuracy": []}

    def add(self, step: int, losses: np.ndarray, accuracies: np.ndarray) -> list[dict[str, Any]]:
        """Takes the metrics of the steps up to ``step``; returns the intervals that they close.

        Raises:
          RunError: a loss is not finite.
        """
        closed = []
        first = step - len(losses) + 1
        pairs = zip(losses.tolist(), accuracies.tolist(), strict=True)
        for at, (loss, accuracy) in enumerate(pairs, first):
            if not math.isfinite(loss):
                raise RunError(
                    f"the loss became {loss} at step {at} (steps {first} to {step} were run "
                    "together); the last checkpoint is from before. A lower "
                    "optimizer.learning_rate may help"
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
