"""One run: calls of the training program, evaluations, metrics and checkpoints, until the end."""

import collections
import contextlib
import dataclasses
import logging
from time import monotonic
from typing import Any

import jax
import numpy as np

from rir_jax import config as configs
from rir_jax.analysis.examples import example_images
from rir_jax.analysis.report import draw_curves
from rir_jax.data.pipeline import device_arrays
from rir_jax.errors import InputError, RunError
from rir_jax.processes import agree_equal, is_main_process
from rir_jax.training import engine as engines
from rir_jax.training.checkpoints import Checkpoints
from rir_jax.training.interrupt import StopRequest
from rir_jax.training.metrics import Intervals, MetricsLog, read_metrics
from rir_jax.training.pace import Pace
from rir_jax.training.progress import Progress
from rir_jax.training.setup import Setup
from rir_jax.workdir import Workdir, check_same

_log = logging.getLogger(__name__)


@dataclasses.dataclass
class _Call:
    """A dispatched program whose results have not been read."""

    split: str
    first: int
    step: int
    results: Any
    started: float
    compiles: bool = False
    answers: Any = None


class Run:
    """One run in one folder, from its newest intact checkpoint on.

    Raises:
      InputError: the checkpoints are of another config.
      RunError: the checkpoints are damaged or lost, or the first could not be written.
    """

    def __init__(self, setup: Setup, folder: Workdir, stop: StopRequest, label: str = ""):
        config = setup.config
        self._setup, self._folder, self._engine = setup, folder, setup.engine
        self._per_epoch = self._engine.batches.steps_per_epoch
        self._checkpoints = Checkpoints(folder / "checkpoints", config.checkpoint.keep)
        self._state, notes = self._restore()
        self._step = int(self._state.step)
        self._pace = Pace(stop, config.train.batch_size, notes["clock"])
        self._calls: collections.deque[_Call] = collections.deque()
        self._called = False
        self._log = MetricsLog(folder, notes["records"], self._step)
        self._intervals = Intervals(
            config.train.log_every_steps, self._per_epoch, notes["open_interval"]
        )
        dataset = setup.dataset
        if self._step == 0:
            examples = example_images(
                dataset.train.images, config.augment.crop_padding, config.augment.flip, config.seed
            )
            self._log.describe(configs.flatten(config), examples)
        self._arrays = device_arrays(dataset, self._engine.mesh)
        self._held_out = engines.evaluation_arrays(
            dataset.held_out, config.eval.batch_size, dataset.mean, dataset.std, self._engine.mesh
        )
        self._progress = Progress(
            label or f"{config.model.name} on {dataset.name}",
            setup.total_steps,
            self._step,
            self._per_epoch,
        )

    def finish(self) -> dict[str, Any] | None:
        """Trains to the end of the run, unless stopped. Returns the summary, or None if stopped.

        Raises:
          RunError: a loss is not finite, a file could not be written, another process is gone.
        """
        total = self._setup.total_steps
        with contextlib.ExitStack() as stack:
            stack.callback(self._progress.close)
            stack.callback(self._log.close)
            with self._failures():
                while self._step < total and self._pace.reason is None:
                    self._train_some()
                    if self._step % self._per_epoch == 0:
                        self._end_epoch()
                self._checkpoint()
                self._checkpoints.close()
        self._draw()
        if self._step < total:
            _log.warning(
                "%s: stopped at step %d of %d; the same command goes on from there",
                self._pace.reason,
                self._step,
                total,
            )
            return None
        return self._summarize()

    def _restore(self):
        config = self._setup.config

        def abstract_state(notes):
            check_same(config, notes["config"], f"a checkpoint in {self._checkpoints.folder}")
            return self._engine.abstract_state()

        self._checkpoints.clear_leftovers()
        restored = self._checkpoints.restore(abstract_state)
        agree_equal(-1 if restored is None else int(restored[0].step), "the newest checkpoint")
        if restored is not None:
            state, notes = restored
            self._checkpoints.set_aside_after(int(state.step))
        else:
            if read_metrics(self._folder):
                raise RunError(
                    f"workdir {self._folder.path} has metrics but no checkpoint; put its "
                    "checkpoints back, or move it away to start over"
                )
            # A checkpoint at step 0, so that from here on their absence means they were lost.
            state = self._engine.init(config.seed)
            notes = self._notes({"loss": [], "accuracy": []}, {}, [])
            self._checkpoints.save(state, notes)
            self._checkpoints.wait()
        if is_main_process():
            self._folder.write_config(config)
        return state, notes

    def _notes(self, open_interval, clock, records):
        """What a checkpoint says besides the state: to go on exactly, and to use the network."""
        dataset = self._setup.dataset
        return {
            "config": configs.flatten(self._setup.config),
            "records": records,
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

    @contextlib.contextmanager
    def _failures(self):
        """Puts a cause that is not this code's fault into words, and saves what can be saved."""
        try:
            yield
        except (InputError, RunError):
            with contextlib.suppress(RunError):  # the first failure is the one to tell of
                self._checkpoints.close()
            raise
        except Exception as error:
            reason = " ".join(str(error).split())[:200]
            if jax.process_count() > 1:
                raise RunError(
                    f"stopped near step {self._step}, as another process is gone or cannot be "
                    f"reached: {reason}; the same commands go on from the last checkpoint"
                ) from error
            if "RESOURCE_EXHAUSTED" in reason:
                raise RunError(
                    f"the device's memory is too small: {reason}; a smaller train.batch_size or "
                    "eval.batch_size, or a smaller network, may fit"
                ) from error
            raise

    def _train_some(self):
        """Dispatches a training call and reads the results of the one before."""
        started, first = monotonic(), self._step
        self._step += self._pace.steps(self._per_epoch - first % self._per_epoch)
        self._state, metrics = self._engine.train(
            self._state, self._arrays, np.uint32(self._setup.config.seed), np.int32(self._step)
        )
        compiles, self._called = not self._called, True
        self._calls.append(
            _Call("train", first, self._step, metrics, started, compiles, self._pace.ask())
        )
        self._read(all_but=1)

    def _end_epoch(self):
        config, epoch = self._setup.config, self._step // self._per_epoch
        last = self._step == self._setup.total_steps
        if last or epoch % config.eval.every_epochs == 0:
            started = monotonic()
            results = self._engine.evaluate(self._state.variables, *self._held_out)
            held_out = self._setup.dataset.held_out_name
            self._calls.append(_Call(held_out, self._step, self._step, results, started))
        if epoch % config.checkpoint.every_epochs == 0:
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
        images = (call.step - call.first) * self._setup.config.train.batch_size
        self._pace.time(call.started, images, call.compiles)
        self._pace.hear(call.answers)
        start = call.first % self._per_epoch
        taken = slice(start, start + call.step - call.first)
        for interval in self._intervals.add(call.step, losses[taken], accuracies[taken]):
            step = interval["step"]
            self._record(
                "train", step, interval, learning_rate=float(self._setup.schedule(step - 1))
            )
        rate = self._pace.rate
        self._progress.update(
            call.step,
            loss=f"{losses[taken][-1]:.3f}",
            **({"images/s": f"{rate:,.0f}"} if rate else {}),
        )

    def _read_evaluation(self, call):
        result = engines.evaluation_result(call.results, len(self._setup.dataset.held_out))
        self._pace.time(call.started, 0, call.compiles)
        self._record(call.split, call.step, result)
        self._progress.update(call.step, **{call.split: f"{100 * result['accuracy']:.2f} %"})

    def _record(self, split, step, values, **more):
        epoch = -(-step // self._per_epoch)
        rate = None if self._pace.rate is None else round(self._pace.rate, 1)
        fixed = {"step": step, "epoch": epoch, "split": split}
        self._log.write({**fixed, **values, **more, "images_per_second": rate})

    def _checkpoint(self):
        """Logs all that is known, then saves: a checkpoint's steps are always in the log."""
        self._read()
        self._log.flush()
        _check_finite(self._state, self._step)
        notes = self._notes(
            self._intervals.open_interval, self._pace.clock(), list(self._log.records)
        )
        self._checkpoints.save(self._state, notes)

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
        rate = self._pace.mean_rate()
        devices = self._engine.mesh.devices.ravel()
        summary = {
            f"{held_out}_accuracy": final["accuracy"],
            f"{held_out}_loss": final["loss"],
            "steps": self._step,
            "epochs": config.train.epochs,
            "images_per_second": rate and round(rate, 1),
            "seconds": round(self._pace.clock()["seconds"], 2),
            "num_params": sum(leaf.size for leaf in jax.tree.leaves(self._state.params)),
            "device": f"{len(devices)} x {devices[0].device_kind}",
            "model": config.model.name,
            "dataset": config.dataset.name,
            "seed": config.seed,
        }
        if is_main_process():
            self._folder.write_json("summary.json", summary)
        return summary


def _check_finite(state, step):
    for path, leaf in jax.tree_util.tree_leaves_with_path(state.variables):
        if not np.isfinite(np.asarray(leaf)).all():
            name = jax.tree_util.keystr(path, simple=True, separator="/")
            raise RunError(
                f"{name} is not finite at step {step}; the last checkpoint is from before. A lower "
                "optimizer.learning_rate, in a fresh workdir, may help"
            )
