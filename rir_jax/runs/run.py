"""A run: calls of the training program, evaluations and checkpoints, until the end.

It trains one network, or several seeds of it at once, which take their steps together.
"""

import collections
import contextlib
import logging
from collections.abc import Callable, Mapping
from functools import partial
from time import monotonic
from typing import Any

import jax
import numpy as np

from rir_jax.data.pipeline import device_arrays
from rir_jax.devices.mesh import replicate
from rir_jax.errors import InputError, RunError
from rir_jax.runs.interrupt import StopRequest
from rir_jax.runs.member import Member
from rir_jax.runs.pace import Pace
from rir_jax.runs.progress import ALONE, Place, Progress
from rir_jax.runs.workdir import Workdir
from rir_jax.training import engine as engines
from rir_jax.training.setup import Setup

_log = logging.getLogger(__name__)


class Run:
    """A run from its newest intact checkpoints on, to be entered as a context.

    Args:
      setup: the parts of the run; its engine trains as many seeds at once as there are folders.
      folders: one opened folder per seed; a seed that is ahead waits for the others.
      stop: the request that says when to stop early.
      place: the run's place among others, for the progress display.

    Raises:
      InputError, RunError: as `Member.restore`.
    """

    def __init__(
        self,
        setup: Setup,
        folders: Mapping[int, Workdir],
        stop: StopRequest,
        place: Place = ALONE,
    ):
        self._setup, self._engine, self._config = setup, setup.engine, setup.config
        self._per_epoch = self._engine.batches.steps_per_epoch
        restored = [Member.restore(setup, folder, seed) for seed, folder in folders.items()]
        self._members = [member for member, _ in restored]
        self._state = self._engine.stack(*[state for _, state in restored])
        self._seeds = self._engine.place_seeds(list(folders))
        self._step = min(member.step for member in self._members)
        self._pace = Pace(stop, self._config.train.batch_size)
        # For each call in flight, its split and the function that waits for its results.
        self._reads: collections.deque[tuple[str, Callable[[], None]]] = collections.deque()
        self._called = False
        dataset, mesh = setup.dataset, self._engine.mesh
        self._arrays = device_arrays(dataset, mesh)
        self._held_out = engines.evaluation_arrays(
            dataset.held_out, self._config.eval.batch_size, dataset.mean, dataset.std, mesh
        )
        self._progress = Progress(
            place.label or f"{self._config.model.name} on {dataset.name}",
            later=place.later,
            total=setup.total_steps,
            initial=self._step,
            steps_per_epoch=self._per_epoch,
        )

    def __enter__(self):
        return self

    def __exit__(self, *_):
        with contextlib.ExitStack() as stack:  # closes the rest though a log fails
            for member in self._members:
                stack.callback(member.close)
            self._progress.close()

    def finish(self) -> list[dict[str, Any]] | None:
        """Trains to the end of the run, unless stopped.

        Returns:
          The summary of each seed; None if the run was stopped, at a checkpoint.

        Raises:
          RunError: a loss is not finite, a file could not be written, another process is gone.
        """
        total = self._setup.total_steps
        with self._failures():
            self.train_until(total)
            self._checkpoint()
            self.wait()
        for member in self._members:
            member.draw()
        if self._step < total:
            _log.warning(
                "%s: stopped at step %d of %d; the same command resumes there",
                self._pace.reason,
                self._step,
                total,
            )
            return None
        devices = self._engine.mesh.devices[0]  # of the first group; all are alike
        states = self._engine.unstack(self._state)
        return [
            member.summarize(state, self._pace.clock(), devices)
            for member, state in zip(self._members, states, strict=True)
        ]

    def train_until(self, step: int) -> None:
        """Trains to ``step``, unless stopped, with evaluations and checkpoints between epochs."""
        while self._step < step and self._pace.reason is None:
            self._train_some(step)
            if self._step % self._per_epoch == 0:
                self._end_epoch()

    def wait(self) -> None:
        """Waits until the checkpoints are written; a RunError if one could not be."""
        for member in self._members:
            member.wait()

    @contextlib.contextmanager
    def _failures(self):
        """Names the known causes of failures, and finishes the writes in progress."""
        try:
            yield
        except (InputError, RunError):
            for member in self._members:
                with contextlib.suppress(RunError):  # only the first failure is raised
                    member.wait()
            raise
        except Exception as error:
            if _is_of_debug_nans(error):
                raise RunError(
                    f"jax_debug_nans found a number that is nan near step {self._step}; the last "
                    "checkpoint is from before. Without jax_debug_nans the same command resumes, "
                    "and stops at the step whose loss is not finite"
                ) from error
            reason = " ".join(str(error).split())[:200]
            if jax.process_count() > 1:
                raise RunError(
                    f"stopped near step {self._step}, as another process is gone or cannot be "
                    f"reached: {reason}; the same commands go on from the last checkpoint"
                ) from error
            raise

    @contextlib.contextmanager
    def _memory_for(self, split):
        """Names the field to lower when a program does not fit into the device's memory."""
        try:
            yield
        except Exception as error:
            if "RESOURCE_EXHAUSTED" not in str(error):
                raise
            if split == "train":
                what = "a smaller train.batch_size or network, in a fresh workdir, may fit"
            else:
                self._read()  # raises if it was training that did not fit
                what = "the same command with a smaller eval.batch_size resumes"
            reason = " ".join(str(error).split())[:200]
            raise RunError(
                f"the device's memory is too small for the {split} split: {reason}; {what}"
            ) from error

    def _train_some(self, end):
        """Dispatches a training call and reads the results of the previous one."""
        if not self._called:
            self._progress.compiling()
        started, first = monotonic(), self._step
        left = min(end - first, self._per_epoch - first % self._per_epoch)
        self._step += self._pace.steps(left)
        with self._memory_for("train"):
            stop = replicate(np.int32(self._step), self._engine.mesh)
            self._state, metrics = self._engine.train(self._state, self._arrays, self._seeds, stop)
        compiles, self._called = not self._called, True
        arguments = first, self._step, metrics, started, compiles, self._pace.ask()
        self._reads.append(("train", partial(self._read_training, *arguments)))
        self._read(all_but=1)

    def _end_epoch(self):
        config, epoch = self._config, self._step // self._per_epoch
        last = self._step == self._setup.total_steps
        if last or epoch % config.eval.every_epochs == 0:
            started, held_out = monotonic(), self._setup.dataset.held_out_name
            with self._memory_for(held_out):
                sums = self._engine.evaluate(self._state.result, *self._held_out)
            read = partial(self._read_evaluation, self._step, sums, started)
            self._reads.append((held_out, read))
        if epoch % config.checkpoint.every_epochs == 0:
            self._checkpoint()

    def _read(self, all_but=0):
        """Waits for the oldest results and logs them, leaving ``all_but`` calls in flight."""
        while len(self._reads) > all_but:
            split, read = self._reads.popleft()
            with self._memory_for(split):
                read()

    def _read_training(self, first, step, metrics, started, compiled, answers):
        by_member = [np.asarray(metrics[name]) for name in ("loss", "accuracy")]
        self._pace.time(started, (step - first) * self._config.train.batch_size, compiled)
        self._pace.hear(answers)
        start = first - first % self._per_epoch  # the step before the epoch's first
        last, rate = [], self._pace.rate
        for member, losses, accuracies in zip(self._members, *by_member, strict=True):
            if member.step < step:
                taken = slice(member.step - start, step - start)
                with self._named(member):
                    member.log_training(step, losses[taken], accuracies[taken], rate)
                last.append(losses[taken][-1])
        self._progress.update(
            step,
            loss=f"{np.mean(last):.3f}",
            **({"images/s": f"{rate * len(self._members):,.0f}"} if rate else {}),
        )

    def _read_evaluation(self, step, sums, started):
        by_member = zip(*map(np.asarray, sums), strict=True)
        count = len(self._setup.dataset.held_out)
        results = [engines.evaluation_result(of_one, count) for of_one in by_member]
        self._pace.time(started, 0, compiled=False)
        for member, result in zip(self._members, results, strict=True):
            if member.first < step:  # a seed that was ahead has logged this one
                with self._named(member):
                    member.log_evaluation(step, result, self._pace.rate)
        accuracy = np.mean([result["accuracy"] for result in results])
        held_out = self._setup.dataset.held_out_name
        self._progress.update(step, ended=True, **{held_out: f"{100 * accuracy:.2f} %"})

    def _checkpoint(self):
        """Logs all results, then saves the state."""
        self._read()
        states = self._engine.unstack(self._state)
        for member, state in zip(self._members, states, strict=True):
            with self._named(member):
                member.checkpoint(state, self._pace.clock())

    @contextlib.contextmanager
    def _named(self, member):
        """Adds the seed to an error, if there are several."""
        try:
            yield
        except RunError as error:
            if len(self._members) == 1:
                raise
            raise RunError(f"seed {member.seed}: {error}") from error


def _is_of_debug_nans(error):
    """Whether an error comes from a nan that ``jax_debug_nans`` found.

    JAX runs such a program again, one operation at a time, to find the place. If that fails for
    another reason, the first error is the context of the second.
    """
    while error is not None and "FloatingPointError" not in type(error).__name__:
        error = error.__context__
    return error is not None
