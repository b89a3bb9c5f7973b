"""The number of steps in a call, and when a run stops: all its processes decide both alike."""

import time
from typing import Any

import jax
import numpy as np

from rir_jax.devices.processes import share
from rir_jax.runs.interrupt import StopRequest

# Short enough to answer a signal soon, long enough for the cost of a call not to matter.
_SECONDS_PER_CALL = 1.0


class Pace:
    """Times the calls of a run, and decides how many steps each takes and when the run stops.

    With every call, several processes send each other their rates and requests to stop. They
    decide by these once the call's metrics are read: all alike, and without waiting.

    Args:
      stop: the stop request of this process.
      batch_size: number of images in a step.

    Attributes:
      rate: images per second of the last timed call; None before the first.
      reason: the reason why the run has to stop, or None.
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
        """The number of steps in the next call: about a second's worth, at most ``left``."""
        if not self._agreed_rate:
            return 1
        wanted = round(self._agreed_rate / self._batch_size * _SECONDS_PER_CALL)
        # It grows slowly, as a call that ended before it was read seems faster than it was.
        self._longest *= 4
        return max(1, min(left, self._longest, wanted))

    def ask(self) -> Any:
        """Sends this process's rate and stop request to the others, if there are any."""
        if jax.process_count() > 1:
            return share([self._stop.reason() is not None, self.rate or 0.0])
        return None

    def hear(self, answers: Any) -> None:
        """Decides by what all processes sent with `ask`, once the call has been read."""
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

        A call that compiled its program does not count.
        """
        now = time.monotonic()
        spent, self._last_read = now - max(started, self._last_read), now
        if images and not compiled:
            self.rate = images / spent
            self._timed_seconds += spent
            self._timed_images += images

    def clock(self) -> dict[str, float]:
        """The "seconds" since the start, and "timed_seconds" and "timed_images" of timed calls."""
        return {
            "seconds": time.monotonic() - self._since,
            "timed_seconds": self._timed_seconds,
            "timed_images": self._timed_images,
        }
