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
        self._initial = self._step = initial
        self._said_step = -1
        self._notes = {}
        self._bar = None
        if sys.stderr.isatty():
            import tqdm

            layout = "{desc} {percentage:3.0f}%|{bar}| [{elapsed}<{remaining}{postfix}]"
            self._bar = tqdm.tqdm(
                total=total, initial=initial, dynamic_ncols=True, bar_format=layout
            )

    def update(self, step: int, ended: bool = False, **notes: str) -> None:
        """Shows ``step`` and notes (``loss="0.12"``), which stay until they are replaced.

        ``ended`` says that this is the last update of an epoch.
        """
        self._notes.update(notes)
        if self._bar is not None:
            self._bar.set_description_str(f"{self._description}, epoch {self._epochs(step)}")
            later = {"then": _clock(self._seconds_later(step))} if self._later else {}
            self._bar.set_postfix(self._notes | later, refresh=False)
            self._bar.update(step - self._step)
        self._step = step
        since = time.monotonic() - self._said
        if self._bar is None and (since >= self._every or (ended and since >= _SHORTEST)):
            self.say()

    def say(self) -> None:
        """Prints a plain line now."""
        self._said, self._said_step = time.monotonic(), self._step
        spent = self._said - self._start
        left = self._seconds_a_step(self._step) * (self._total - self._step)
        later = self._seconds_later(self._step)
        then = f", {_clock(left + later)} with what follows" if self._later else ""
        notes = "".join(f", {name} {value}" for name, value in self._notes.items())
        with contextlib.suppress(OSError):  # a closed stderr must not stop the run
            print(
                f"{self._description}: epoch {self._epochs(self._step)}, step {self._step} of "
                f"{self._total}{notes} [{_clock(spent)} gone, {_clock(left)} to go{then}]",
                file=sys.stderr,
                flush=True,
            )

    def close(self) -> None:
        """Ends the bar, or prints a last line."""
        if self._bar is not None:
            self._bar.close()
        elif self._step != self._said_step:
            self.say()

    def _seconds_a_step(self, step):
        done = step - self._initial
        return (time.monotonic() - self._start) / done if done else 0.0

    def _seconds_later(self, step):
        return self._later * self._total * self._seconds_a_step(step)

    def _epochs(self, step):
        return f"{step / self._per_epoch:.1f} of {self._total // self._per_epoch}"


def _clock(seconds):
    """Seconds as "4:05", or "1:04:05" from an hour on."""
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{seconds:02d}" if hours else f"{minutes}:{seconds:02d}"
