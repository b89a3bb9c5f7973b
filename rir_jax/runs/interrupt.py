"""The reasons to stop a run before its end: a signal, or the end of its time limit."""

import signal
import time
from typing import Any

from rir_jax.errors import Interrupted


class StopRequest:
    """While entered, notes SIGTERM, SIGINT and the end of ``time_limit`` seconds.

    A second SIGINT interrupts at once, as usual.

    Raises:
      Interrupted: raised on exit after a SIGINT, so that a loop over runs ends, too.
    """

    def __init__(self, time_limit: float | None = None):
        self._deadline = None if time_limit is None else time.monotonic() + time_limit
        self._time_limit = time_limit
        self._signal: signal.Signals | None = None
        self._before: dict[int, Any] = {}

    def reason(self) -> str | None:
        """The reason why the run has to stop now, or None."""
        if self._signal is not None:
            return f"received {self._signal.name}"
        if self._deadline is not None and time.monotonic() >= self._deadline:
            return f"reached the time limit of {self._time_limit:g} s"
        return None

    def _note(self, number, frame):
        self._signal = signal.Signals(number)
        signal.signal(signal.SIGINT, self._before.get(signal.SIGINT, signal.default_int_handler))

    def __enter__(self):
        for number in (signal.SIGTERM, signal.SIGINT):
            try:
                self._before[number] = signal.signal(number, self._note)
            except ValueError:  # not the main thread, so signals are the caller's
                break
        return self

    def __exit__(self, kind, *_):
        for number, handler in self._before.items():
            signal.signal(number, handler)
        if self._signal == signal.SIGINT and kind is None:
            raise Interrupted
