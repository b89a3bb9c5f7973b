"""TensorBoard events, written where they are made.

Not by tensorboardX's SummaryWriter: its thread dies of a full disk unheard, and its file is
overwritten by that of a run resumed within the same second.
"""

import contextlib
import os
import shutil
import tempfile
import time
from typing import Any

from etils import epath

from rir_jax.workdir import write_errors

_SCALARS = ("loss", "accuracy", "learning_rate", "images_per_second")


class Events:
    """A file of events, from ``step`` on: TensorBoard forgets what earlier files say of later.

    Args:
      folder: of all files of events of the run; made if need be.
      step: where the run goes on.

    Raises:
      RunError: it could not be written. So do the methods.
    """

    def __init__(self, folder: epath.Path, step: int):
        from tensorboardX.event_file_writer import EventsWriter  # slow to import
        from tensorboardX.proto.event_pb2 import Event, SessionLog
        from tensorboardX.summary import scalar

        self._folder, self._event, self._scalar = folder, Event, scalar
        self._remote = "://" in str(folder)
        with write_errors(folder):
            folder.mkdir(exist_ok=True)
            self._local = epath.Path(tempfile.mkdtemp()) if self._remote else folder
            name = str(self._local / "events")
            self._writer = EventsWriter(name, f".{os.getpid()}.{step}")
            start = SessionLog(status=SessionLog.START)
            self._writer.write_event(Event(step=step + 1, session_log=start))

    def write(self, record: dict[str, Any]) -> None:
        """Adds the numbers of a record of metrics.jsonl."""
        with write_errors(self._folder):
            for name in _SCALARS:
                if record.get(name) is not None:
                    summary = self._scalar(f"{record['split']}/{name}", record[name])
                    self._writer.write_event(
                        self._event(wall_time=time.time(), step=record["step"], summary=summary)
                    )

    def flush(self) -> None:
        """Puts all of it where it belongs."""
        with write_errors(self._folder):
            self._writer.flush()
            if self._remote:
                for path in self._local.iterdir():
                    (self._folder / path.name).write_bytes(path.read_bytes())

    def close(self) -> None:
        """Frees the file; `flush` first."""
        with contextlib.suppress(OSError):
            self._writer.close()
        if self._remote:
            shutil.rmtree(self._local, ignore_errors=True)
