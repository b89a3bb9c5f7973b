"""The progress display: a bar on a terminal, elsewhere a line an epoch or a minute."""

import contextlib
import dataclasses
import sys
import time


@dataclasses.dataclass(frozen=True)
class Place:
    """A run's place among others, for its progress display.

    Attributes:
      label: the run's name, such as "row 2 of 5, RiR"; "" for its model and data set.
      later: the work that follows this run, as a multiple of the run's own.
    """

    label: str = ""
    later: float = 0.0


ALONE = Place()
_SHORTEST = 1.0  # the least seconds between lines


class Progress:
    """Shows the steps done, and the time left at this session's pace.

    The first call of the training program compiles it, which tells nothing of the pace: the time
    left is known from the second on.

    Args:
      description: the run's name, such as "rir32 on digits".
      later: the work that follows, as in `Place`.
      total: number of steps of the whole run.
      initial: number of steps done before.
      steps_per_epoch: number of steps in an epoch.
      every: seconds between lines without a terminal.
    """

    def __init__(self, description, later, total, initial, steps_per_epoch, every=60.0):
        self._description, self._later = description, later
        self._total, self._per_epoch = total, steps_per_epoch
        self._every, self._said, self._start = every, time.monotonic(), time.monotonic()
        self._step = initial
        self._compiled = None  # when the first update came, and its step
        self._said_step = -1
        self._notes = {}
        self._bar = None
        if sys.stderr.isatty():
            import tqdm

            layout = "{desc} {percentage:3.0f}%|{bar}| [{elapsed} gone{postfix}]"
            self._bar = tqdm.tqdm(
                total=total, initial=initial, dynamic_ncols=True, bar_format=layout
            )

    def compiling(self) -> None:
        """Says that the program is being compiled, before the first `update`."""
        what = (
            f"{self._description}: compiling the training program, which may take a minute or two"
        )
        if self._bar is not None:
            self._bar.set_description_str(what)
        else:
            _print(what)

    def update(self, step: int, ended: bool = False, **notes: str) -> None:
        """Shows ``step`` and notes (``loss="0.12"``), which stay until they are replaced.

        ``ended`` says that this is the last update of an epoch.
        """
        self._notes.update(notes)
        done, self._step = step - self._step, step
        self._compiled = self._compiled or (time.monotonic(), step)
        if self._bar is not None:
            self._bar.set_description_str(
                f"{self._description}, epoch {self._epochs()}", refresh=False
            )
            self._bar.set_postfix_str((self._left() + self._noted())[2:], refresh=False)
            self._bar.update(done)
        since = time.monotonic() - self._said
        if self._bar is None and (since >= self._every or (ended and since >= _SHORTEST)):
            self.say()

    def say(self) -> None:
        """Prints a plain line now."""
        self._said, self._said_step = time.monotonic(), self._step
        gone = _clock(self._said - self._start)
        _print(
            f"{self._description}: epoch {self._epochs()}, step {self._step} of {self._total}"
            f"{self._noted()} [{gone} gone{self._left()}]"
        )

    def close(self) -> None:
        """Ends the bar, or prints a last line."""
        if self._bar is not None:
            self._bar.close()
        elif self._step != self._said_step:
            self.say()

    def _left(self):
        """Such as ", 4:05 to go"; "" as long as the pace is unknown."""
        since, first = self._compiled or (0.0, self._step)
        if self._step == first and self._step < self._total:
            return ""
        pace = (time.monotonic() - since) / max(1, self._step - first)
        left = pace * (self._total - self._step)
        later = pace * self._total * self._later
        then = f", {_clock(left + later)} with what follows" if self._later else ""
        return f", {_clock(left)} to go{then}"

    def _noted(self):
        return "".join(f", {name} {value}" for name, value in self._notes.items())

    def _epochs(self):
        return f"{self._step / self._per_epoch:.1f} of {self._total // self._per_epoch}"


def _print(line):
    with contextlib.suppress(OSError):  # a closed stderr must not stop the run
        print(line, file=sys.stderr, flush=True)


def _clock(seconds):
    """Seconds as "4:05", or "1:04:05" from an hour on."""
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{seconds:02d}" if hours else f"{minutes}:{seconds:02d}"
