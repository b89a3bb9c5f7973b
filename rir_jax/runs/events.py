"""TensorBoard events.

tensorboardX's SummaryWriter does not write them: its thread dies silently on a full disk, and a
run that is resumed within the same second overwrites its file.
"""

import contextlib
import os
import shutil
import tempfile
import time
from typing import Any

import numpy as np
from etils import epath

from rir_jax import files
from rir_jax.runs.workdir import write_errors

_SCALARS = ("loss", "accuracy")
_OF_TRAINING = ("learning_rate", "images_per_second")


class Events:
    """A file of events from ``step`` on. TensorBoard drops later steps from earlier files.

    Args:
      folder: the folder of all event files of the run, made if need be.
      step: the step that the run resumes from.

    Raises:
      RunError: the file could not be written; the methods raise it, too.
    """

    def __init__(self, folder: epath.Path, step: int):
        from tensorboardX import summary as summaries  # slow to import
        from tensorboardX.event_file_writer import EventsWriter
        from tensorboardX.proto.event_pb2 import Event, SessionLog

        self._folder, self._event, self._make = folder, Event, summaries
        self._remote = files.is_remote(folder)
        with write_errors(folder):
            files.make_folder(folder)
            self._local = epath.Path(tempfile.mkdtemp()) if self._remote else folder
            name = str(self._local / "events")
            self._writer = EventsWriter(name, f".{os.getpid()}.{step}")
            start = SessionLog(status=SessionLog.START)
            self._writer.write_event(Event(step=step + 1, session_log=start))

    def write(self, record: dict[str, Any]) -> None:
        """Adds the numbers in a record of metrics.jsonl."""
        with write_errors(self._folder):
            for name in _SCALARS + _OF_TRAINING * (record["split"] == "train"):
                if record.get(name) is not None:
                    summary = self._make.scalar(f"{record['split']}/{name}", record[name])
                    self._add(record["step"], summary)

    def describe(self, config: dict[str, Any], examples: np.ndarray, held_out: str) -> None:
        """Adds the config, example images, and the layout of the charts.

        Args:
          config: the flat config, shown as a table, and as hyperparameters to sort runs by.
          examples: one picture, uint8 ``[height, width, C]``.
          held_out: the split that the run reports on; it shares charts with the training split.
        """
        rows = "".join(f"| `{name}` | {value!r} |\n" for name, value in config.items())
        with write_errors(self._folder):
            self._add(0, self._make.text("config", f"| field | value |\n|---|---|\n{rows}"))
            self._add(0, self._make.image("examples", examples, dataformats="HWC"))
            charts = {n: ["Multiline", [f"train/{n}", f"{held_out}/{n}"]] for n in _SCALARS}
            self._add(0, self._make.custom_scalars({f"train and {held_out}": charts}))
            sorted_by = [f"{held_out}/{name}" for name in _SCALARS]
            experiment, session, _ = self._make.hparams(_sortable(config), sorted_by)
            self._add(0, experiment)
            self._add(0, session)

    def _add(self, step, summary):
        self._writer.write_event(self._event(wall_time=time.time(), step=step, summary=summary))

    def flush(self) -> None:
        """Puts all events on the disk of this machine."""
        with write_errors(self._folder):
            self._writer.flush()

    def upload(self) -> None:
        """Copies flushed events to the bucket; another thread may call it."""
        with write_errors(self._folder):
            for path in self._local.iterdir():
                files.write(self._folder / path.name, path.read_bytes())

    def close(self) -> None:
        """Frees the file. Call `flush` first."""
        with contextlib.suppress(OSError):
            self._writer.close()
        if self._remote:
            shutil.rmtree(self._local, ignore_errors=True)


def _sortable(config):
    """The fields that are set, with values of the types that TensorBoard has columns for."""
    known = (bool, int, float, str)
    return {
        name: value if isinstance(value, known) else str(tuple(value))
        for name, value in config.items()
        if value is not None
    }
