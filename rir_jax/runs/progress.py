"""How far a run is, for people: a bar on a terminal, a plain line a minute elsewhere."""

import contextlib
import sys
import time

import tqdm


class Progress:
    """Shows steps done of steps to do.

    Args:
      description: of the run, such as "rir32 on digits".
      total: steps of the whole run.
      initial: steps done before.
      steps_per_epoch: to show epochs.
      every: seconds between lines where there is no terminal.
    """

    def __init__(self, description, total, initial, steps_per_epoch, every=60.0):
        self._description, self._total, self._per_epoch = description, total, steps_per_epoch
        self._every, self._said, self._start = every, time.monotonic(), time.monotonic()
        self._initial = self._step = initial
        self._notes = {}
        self._bar = None
        if sys.stderr.isatty():
            layout = "{desc} {percentage:3.0f}%|{bar}| [{elapsed}<{remaining}{postfix}]"
            self._bar = tqdm.tqdm(
                total=total, initial=initial, dynamic_ncols=True, bar_format=layout
            )

    def update(self, step: int, **notes: str) -> None:
        """The run is at ``step``; notes ("loss"="0.12") are shown beside it until replaced."""
        self._notes.update(notes)
        if self._bar is not None:
            self._bar.set_description_str(f"{self._description}, epoch {self._epochs(step)}")
            self._bar.set_postfix(self._notes, refresh=False)
            self._bar.update(step - self._step)
        self._step = step
        if self._bar is None and time.monotonic() - self._said >= self._every:
            self.say()

    def say(self) -> None:
        """Prints a plain line now."""
        self._said = time.monotonic()
        spent = self._said - self._start
        done = self._step - self._initial
        left = spent / done * (self._total - self._step) if done else 0
        notes = "".join(f", {name} {value}" for name, value in self._notes.items())
        with contextlib.suppress(OSError):  # nobody listens any more: no reason to stop the run
            print(
                f"{self._description}: epoch {self._epochs(self._step)}, step {self._step} of "
                f"{self._total}{notes} [{_clock(spent)} gone, {_clock(left)} to go]",
                file=sys.stderr,
                flush=True,
            )

    def close(self) -> None:
        """Leaves the bar as it is, or prints a last line."""
        if self._bar is None:
            self.say()
        else:
            self._bar.close()

    def _epochs(self, step):
        return f"{step / self._per_epoch:.1f} of {self._total // self._per_epoch}"


def _clock(seconds):
    minutes, seconds = divmod(round(seconds), 60)
    return f"{minutes}:{seconds:02d}"
