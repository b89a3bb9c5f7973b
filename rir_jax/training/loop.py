"""The run: calls of the training program, evaluations, metrics, checkpoints, until the end."""

import collections
import dataclasses
import logging
import time
from typing import Any

import jax
import ml_collections
import numpy as np
from etils import epath

from rir_jax import config as configs
from rir_jax.analysis.report import draw_curves
from rir_jax.data.pipeline import device_arrays
from rir_jax.errors import RunError
from rir_jax.parallel import is_main_process
from rir_jax.training import engine as engines
from rir_jax.training.checkpoints import Checkpoints
from rir_jax.training.interrupt import StopRequest
from rir_jax.training.metrics import Intervals, MetricsLog, read_metrics
from rir_jax.training.progress import Progress
from rir_jax.training.setup import Setup, build
from rir_jax.workdir import Workdir

_log = logging.getLogger(__name__)
_SECONDS_PER_CALL = 1.0  # so that a signal is answered soon, and calls cost next to nothing


def train_and_evaluate(
    config: ml_collections.ConfigDict, workdir: epath.PathLike
) -> dict[str, Any] | None:
    """Trains a network, or goes on with it, and evaluates it.

    Args:
      config: from `rir_jax.default_config` or a file in configs/.
      workdir: a fresh folder, or one of an earlier call with the same config: what was done
        there is not done again.

    Returns:
      What summary.json holds; None if the run stopped before its end, by a signal or by
      ``train.time_limit``, with a checkpoint to go on from.

    Raises:
      InputError: a field, file or folder that is not allowed; nothing has been written.
      RunError: the run could not go on (the loss is not finite, a disk is full).

    >>> import rir_jax, tempfile
    >>> config = rir_jax.default_config()
    >>> config.dataset.name, config.model.name, config.train.epochs = "digits", "cnn32", 1
    >>> config.model.blocks, config.model.layers_per_block = (1, 1, 1), 1
    >>> with tempfile.TemporaryDirectory() as workdir:
    ...     summary = rir_jax.train_and_evaluate(config, workdir)
    >>> summary["steps"]
    2
    """
    configs.validate(config)
    folder = Workdir(workdir)
    folder.check(config)
    summary = folder.summary()
    if summary is not None:
        _log.info("the run in %s is finished already", folder.path)
        return summary
    if config.num_seeds > 1:
        from rir_jax.training.seeds import train_seeds

        return train_seeds(config, folder)
    setup = build(config)
    folder.open(config)
    with folder.lock():
        return Run(setup, folder).finish()


@dataclasses.dataclass
class _Call:
    """A dispatched program whose results have not been read."""

    split: str
    first: int
    step: int
    results: Any
    started: float
    compiles: bool = False


class Run:
    """One run in one folder, from its newest checkpoint on."""

    def __init__(self, setup: Setup, folder: Workdir):
        config = setup.config
        self._setup, self._folder, self._engine = setup, folder, setup.engine
        self._per_epoch = self._engine.batches.steps_per_epoch
        self._checkpoints = Checkpoints(folder / "checkpoints", config.checkpoint.keep)
        self._state, notes = self._restore()
        self._step = int(self._state.step)
        self._clock = {"seconds": 0.0, "timed_seconds": 0.0, "timed_images": 0, **notes["clock"]}
        self._since = time.monotonic()
        self._last_read = 0.0
        self._rate = None  # images per second
        self._calls: collections.deque[_Call] = collections.deque()
        self._called, self._longest_call = False, 1
        self._log = MetricsLog(folder, self._step)
        self._intervals = Intervals(
            config.train.log_every_steps, self._per_epoch, notes["open_interval"]
        )
        dataset = setup.dataset
        self._arrays = device_arrays(dataset, self._engine.mesh)
        self._held_out = engines.evaluation_arrays(
            dataset.held_out, config.eval.batch_size, dataset.mean, dataset.std, self._engine.mesh
        )
        self._progress = Progress(
            f"{config.model.name} on {dataset.name}", setup.total_steps, self._step, self._per_epoch
        )

    def finish(self) -> dict[str, Any] | None:
        """Trains to the end of the run, unless stopped. Returns the summary, or None if stopped."""
        config, total = self._setup.config, self._setup.total_steps
        limit = config.train.time_limit
        reason = None
        try:
            with StopRequest(None if limit is None else configs.seconds(limit)) as stop:
                while self._step < total and reason is None:
                    self._train_some()
                    if self._step % self._per_epoch == 0:
                        self._end_epoch()
                    reason = stop.reason()
                if reason is not None and self._step < total:
                    self._checkpoint()
                self._checkpoints.close()
        finally:
            self._log.close()
            self._progress.close()
        self._draw()
        if self._step < total:
            _log.warning(
                "%s: stopped at step %d of %d; the same command goes on from there",
                reason,
                self._step,
                total,
            )
            return None
        return self._summarize()

    def _restore(self):
        restored = self._checkpoints.restore(lambda notes: self._engine.abstract_state())
        if restored is not None:
            state, notes = restored
            self._checkpoints.set_aside_after(int(state.step))
            return state, notes
        if read_metrics(self._folder):
            raise RunError(
                f"workdir {self._folder.path} has metrics but no checkpoint; put its checkpoints "
                "back, or move it away to start over"
            )
        # A checkpoint at step 0, so that from here on their absence means that they were lost.
        state = self._engine.init(self._setup.config.seed)
        notes = self._notes({"loss": [], "accuracy": []}, {})
        self._checkpoints.save(state, notes)
        self._checkpoints.wait()
        return state, notes

    def _notes(self, open_interval, clock):
        """What a checkpoint says besides the state: to go on exactly, and to use the network."""
        dataset = self._setup.dataset
        return {
            "open_interval": open_interval,
            "clock": clock,
            "dataset": {
                "name": dataset.name,
                "num_train_images": len(dataset.train),
                "image_shape": list(dataset.image_shape),
                "class_names": list(dataset.class_names),
                "mean": dataset.mean.tolist(),
                "std": dataset.std.tolist(),
            },
        }

    def _train_some(self):
        """Dispatches a training call and reads the results of the one before."""
        started, first = time.monotonic(), self._step
        self._step += self._steps_a_call()
        self._state, metrics = self._engine.train(
            self._state, self._arrays, np.uint32(self._setup.config.seed), np.int32(self._step)
        )
        self._calls.append(
            _Call("train", first, self._step, metrics, started, compiles=not self._called)
        )
        self._called = True
        self._read(all_but=1)

    def _steps_a_call(self):
        left = self._per_epoch - self._step % self._per_epoch
        if self._rate is None:
            return 1
        per_second = self._rate / self._setup.config.train.batch_size
        # Growing step by step: a call that was over before it was read looks faster than it was.
        self._longest_call *= 4
        return max(1, min(left, self._longest_call, round(per_second * _SECONDS_PER_CALL)))

    def _end_epoch(self):
        config, epoch = self._setup.config, self._step // self._per_epoch
        last = self._step == self._setup.total_steps
        if last or epoch % config.eval.every_epochs == 0:
            started = time.monotonic()
            results = self._engine.evaluate(self._state.variables, *self._held_out)
            held_out = self._setup.dataset.held_out_name
            self._calls.append(_Call(held_out, self._step, self._step, results, started))
        if last or epoch % config.checkpoint.every_epochs == 0:
            self._checkpoint()

    def _read(self, all_but=0):
        """Waits for the oldest results and logs them, leaving ``all_but`` calls in flight."""
        while len(self._calls) > all_but:
            call = self._calls.popleft()
            if call.split == "train":
                self._read_training(call)
            else:
                self._read_evaluation(call)

    def _read_training(self, call):
        losses, accuracies = (np.asarray(call.results[name]) for name in ("loss", "accuracy"))
        now = time.monotonic()
        spent, self._last_read = now - max(call.started, self._last_read), now
        images = (call.step - call.first) * self._setup.config.train.batch_size
        if not call.compiles:
            self._rate = images / spent
            self._clock["timed_seconds"] += spent
            self._clock["timed_images"] += images
        start = call.first % self._per_epoch
        taken = slice(start, start + call.step - call.first)
        for interval in self._intervals.add(call.step, losses[taken], accuracies[taken]):
            step = interval["step"]
            self._record(
                "train", step, interval, learning_rate=float(self._setup.schedule(step - 1))
            )
        self._progress.update(
            call.step,
            loss=f"{losses[taken][-1]:.3f}",
            **({"images/s": f"{self._rate:,.0f}"} if self._rate else {}),
        )

    def _read_evaluation(self, call):
        result = engines.evaluation_result(call.results, len(self._setup.dataset.held_out))
        self._last_read = time.monotonic()
        self._record(call.split, call.step, result)
        self._progress.update(call.step, **{call.split: f"{100 * result['accuracy']:.2f} %"})

    def _record(self, split, step, values, **more):
        epoch = -(-step // self._per_epoch)
        rate = None if self._rate is None else round(self._rate, 1)
        fixed = {"step": step, "epoch": epoch, "split": split}
        self._log.write({**fixed, **values, **more, "images_per_second": rate})

    def _checkpoint(self):
        """Logs all that is known, then saves: a checkpoint's steps are always in the log."""
        self._read()
        self._log.flush()
        _check_finite(self._state, self._step)
        clock = {**self._clock, "seconds": self._seconds()}
        self._checkpoints.save(self._state, self._notes(self._intervals.open_interval, clock))

    def _seconds(self):
        return self._clock["seconds"] + time.monotonic() - self._since

    def _draw(self):
        if is_main_process() and self._log.records:
            config = self._setup.config
            picture = draw_curves(
                self._log.records,
                title=f"{config.model.name} on {config.dataset.name}",
                drops=[
                    epoch for epoch in config.schedule.milestones if epoch < config.train.epochs
                ],
            )
            self._folder.write_bytes("curves.png", picture)

    def _summarize(self):
        """Writes summary.json, the sign that the run is finished."""
        config, held_out = self._setup.config, self._setup.dataset.held_out_name
        final = [record for record in self._log.records if record["split"] == held_out][-1]
        timed = self._clock["timed_seconds"]
        rate = round(self._clock["timed_images"] / timed, 1) if timed else None
        devices = self._engine.mesh.devices.ravel()
        summary = {
            f"{held_out}_accuracy": final["accuracy"],
            f"{held_out}_loss": final["loss"],
            "steps": self._step,
            "epochs": config.train.epochs,
            "images_per_second": rate,
            "seconds": round(self._seconds(), 2),
            "num_params": sum(leaf.size for leaf in jax.tree.leaves(self._state.params)),
            "device": f"{len(devices)} x {devices[0].device_kind}",
            "model": config.model.name,
            "dataset": config.dataset.name,
            "seed": config.seed,
        }
        self._folder.write_json("summary.json", summary)
        return summary


def _check_finite(state, step):
    for path, leaf in jax.tree_util.tree_leaves_with_path(state.variables):
        if not np.isfinite(np.asarray(leaf)).all():
            name = jax.tree_util.keystr(path, simple=True, separator="/")
            raise RunError(
                f"{name} is not finite at step {step}; the last checkpoint is from before. A lower "
                "optimizer.learning_rate may help"
            )
