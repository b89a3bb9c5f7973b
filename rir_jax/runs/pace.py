"""How fast a run goes, and what its processes must decide alike: the steps of a call, the end."""

import time
from typing import Any

import jax
import numpy as np

from rir_jax.devices.processes import share
from rir_jax.runs.interrupt import StopRequest

_SECONDS_PER_CALL = 1.0  # so that a signal is answered soon, and calls cost next to nothing


class Pace:
    """Times the calls of a run, chooses how many steps each takes, and when to stop.

    One process decides by what it knows. Several send each other what they know with every call
    and decide by that once the call's metrics are read: all alike, without waiting for it.

    Args:
      stop: of this process.
      batch_size: images a step.

    Attributes:
      rate: images per second of the last call timed, None before.
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
        # Growing step by step: a call that was over before it was read looks faster than it was.
        self._longest *= 4
        return max(1, min(left, self._longest, wanted))

    def ask(self) -> Any:
        """Sends what this process knows to the others, if any; to be called with every call."""
        if jax.process_count() > 1:
            return share([self._stop.reason() is not None, self.rate or 0.0])
        return None

    def hear(self, answers: Any) -> None:
        """Decides by what all processes sent with a call, once that has been read."""
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
        """Takes the time of a call that was dispatched at ``started`` and has now been read.

        One that compiled is not counted.
        """
        now = time.monotonic()
        spent, self._last_read = now - max(started, self._last_read), now
        if images and not compiled:
            self.rate = images / spent
            self._timed_seconds += spent
            self._timed_images += images

    def clock(self) -> dict[str, float]:
        """Since the start: "seconds", and "timed_seconds" and "timed_images" of the calls timed."""
        return {
            "seconds": time.monotonic() - self._since,
            "timed_seconds": self._timed_seconds,
            "timed_images": self._timed_images,
        }
