"""Work for a thread beside the training loop, such as uploads: in order, its failures told."""

import concurrent.futures
from collections.abc import Callable
from typing import Any


class Background:
    """Does one piece of work after another in a thread of its own.

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
        """Gives the thread one more piece of work; returns at once."""
        self._begun.append(self._thread.submit(work, *arguments))

    def wait(self) -> None:
        """Waits until all of it is done.

        Raises:
          Exception: the first that a piece of work has raised since the last call.
        """
        failures = [work.exception() for work in self._begun]
        self._begun.clear()
        for failure in filter(None, failures):
            raise failure

    def close(self) -> None:
        """Waits, and ends the thread. Raises as `wait`."""
        try:
            self.wait()
        finally:
            self._thread.shutdown()
