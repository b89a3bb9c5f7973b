"""How many steps a call takes and when a run stops: its processes decide both alike."""

import time
from typing import Any

import jax
import numpy as np

from rir_jax.devices.processes import share
from rir_jax.runs.interrupt import StopRequest

_SECONDS_PER_CALL = (
    1.0  # short enough to answer a signal soon, long enough for calls to cost little
)


class Pace:
    """Times the calls of a run, chooses how many steps each takes, and when to stop.

    Several processes send each other their rate and any reason to stop with every call, and
    decide by that once its metrics are read: all alike, without waiting.

    Args:
      stop: the stop request of this process.
      batch_size: images a step.

    Attributes:
      rate: images per second of the last timed call; None before.
      reason: why the run is to stop, or None.
    """

    def __init__(self, stop: StopRequest, batch_size: int):
        self.rate: float | None = None
        self.reason: str | None = None
        self._stop, self._batch_size = stop, batch_size
        self._timed_seconds, self._timed_images = 0.0, 0
        self._since = time.monotonic()
        self._agreed_rate, self._longest = 0.0, 1
        self._last_read = 0.0

    def steps(self, left: int) -> int:
        """How many steps the next call takes: about a second's worth, at most ``left``."""
        if not self._agreed_rate:
            return 1
        wanted = round(self._agreed_rate / self._batch_size * _SECONDS_PER_CALL)
        # Growing slowly: a call that ended before it was read seems faster than it was.
        self._longest *= 4
        return max(1, min(left, self._longest, wanted))

    def ask(self) -> Any:
        """Sends rate and stop request to the other processes, if any, with every call."""
        if jax.process_count() > 1:
            return share([self._stop.reason() is not None, self.rate or 0.0])
        return None

    def hear(self, answers: Any) -> None:
        """Decides by the answers of all processes to `ask`, once the call has been read."""
        if self.reason is not None:
            return
        if answers is None:
            self._agreed_rate, self.reason = self.rate or 0.0, self._stop.reason()
            return
        stops, rates = np.asarray(answers).T
        self._agreed_rate = float(rates.min())
        if stops.any():
            self.reason = self._stop.reason() or "another process was asked to stop"

    def time(self, started: float, images: int, compiled: bool) -> None:
        """Times a call that was dispatched at ``started`` and has now been read.

        A call that compiled does not count.
        """
        now = time.monotonic()
        spent, self._last_read = now - max(started, self._last_read), now
        if images and not compiled:
            self.rate = images / spent
            self._timed_seconds += spent
            self._timed_images += images

    def clock(self) -> dict[str, float]:
        """Since the start: "seconds", and "timed_seconds" and "timed_images" of timed calls."""
        return {
            "seconds": time.monotonic() - self._since,
            "timed_seconds": self._timed_seconds,
            "timed_images": self._timed_images,
        }
