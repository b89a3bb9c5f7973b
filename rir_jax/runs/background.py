"""A thread beside the training loop for work such as uploads."""

import concurrent.futures
from collections.abc import Callable
from typing import Any


class Background:
    """A thread that does one task after another.

    Examples:
      >>> done = []
      >>> background = Background()
      >>> background.do(done.append, 1)
      >>> background.do(done.append, 2)
      >>> background.close()
      >>> done
      [1, 2]
    """

    def __init__(self):
        self._thread = concurrent.futures.ThreadPoolExecutor(1, "background")
        self._begun: list[concurrent.futures.Future] = []

    def do(self, work: Callable[..., Any], *arguments: Any) -> None:
        """Gives the thread one more task; returns at once."""
        self._begun.append(self._thread.submit(work, *arguments))

    def wait(self) -> None:
        """Waits for all tasks, then raises the first error of one since the last call."""
        failures = [work.exception() for work in self._begun]
        self._begun.clear()
        for failure in filter(None, failures):
            raise failure

    def close(self) -> None:
        """Waits as `wait` does, and ends the thread."""
        try:
            self.wait()
        finally:
            self._thread.shutdown()
