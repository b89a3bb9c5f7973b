"""One network of a run, in its folder: what is read back, logged, saved and summarized."""

from typing import Any

import jax
import numpy as np

from rir_jax import config as configs
from rir_jax.devices.processes import agree_equal, is_main_process
from rir_jax.errors import RunError
from rir_jax.pictures.curves import draw_curves
from rir_jax.pictures.examples import example_images
from rir_jax.runs.checkpoints import Checkpoints
from rir_jax.runs.metrics import Intervals, MetricsLog, read_metrics
from rir_jax.runs.workdir import Workdir, check_same
from rir_jax.training.setup import Setup
from rir_jax.training.step import TrainState


class Member:
    """One seed of a run: its checkpoints, metrics, curves and summary.

    Args:
      setup: of the run.
      folder: of this seed, entered.
      seed: which.

    Attributes:
      seed: which.
      first: the step that it went on from.
      step: the last step that it is known to have taken.
    """

    def __init__(self, setup: Setup, folder: Workdir, seed: int):
        self.seed = seed
        self._config = configs.of_seed(setup.config, seed)
        self._setup, self._folder = setup, folder
        self._per_epoch = setup.engine.batches.steps_per_epoch
        self._checkpoints = Checkpoints(folder / "checkpoints", self._config.checkpoint.keep)

    def restore(self) -> TrainState:
        """The state of its newest intact checkpoint, or a fresh one, which is then saved.

        Raises:
          InputError: the checkpoints are of another config.
          RunError: they are damaged or lost, or the first could not be written.
        """
        state, notes = self._read() or self._start()
        if is_main_process():
            self._folder.write_config(self._config)
        self.first = self.step = int(state.step)
        self._clock = {"seconds": 0.0, "timed_seconds": 0.0, "timed_images": 0, **notes["clock"]}
        self._log = MetricsLog(self._folder, notes["records"], self.step)
        self._intervals = Intervals(
            self._config.train.log_every_steps, self._per_epoch, notes["open_interval"]
        )
        if self.step == 0:
            augment = self._config.augment
            images = self._setup.dataset.train.images
            examples = example_images(images, augment.crop_padding, augment.flip, self.seed)
            self._log.describe(configs.flatten(self._config), examples)
        return state

    def _read(self):
        def abstract_state(notes):
            check_same(self._config, notes["config"], f"a checkpoint in {self._checkpoints.folder}")
            return self._setup.engine.abstract_state()

        self._checkpoints.clear_leftovers()
        restored = self._checkpoints.restore(abstract_state)
        agree_equal(-1 if restored is None else int(restored[0].step), "the newest checkpoint")
        if restored is not None:
            self._checkpoints.set_aside_after(int(restored[0].step))
        return restored

    def _start(self):
        if read_metrics(self._folder):
            raise RunError(
                f"workdir {self._folder.path} has metrics but no checkpoint; put its "
                "checkpoints back, or move it away to start over"
            )
        # A checkpoint at step 0, so that from here on their absence means they were lost.
        state = self._setup.engine.init(self.seed)
        notes = self._notes({"loss": [], "accuracy": []}, {}, [])
        self._checkpoints.save(state, notes)
        self._checkpoints.wait()
        return state, notes

    def _notes(self, open_interval, clock, records):
        """What a checkpoint says besides the state: to go on exactly, and to use the network."""
        dataset = self._setup.dataset
        return {
            "config": configs.flatten(self._config),
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

    def log_training(self, step: int, losses: np.ndarray, accuracies: np.ndarray, rate) -> None:
        """Takes the metrics of the steps that led to ``step``, and the images per second.

        Raises:
          RunError: a loss is not finite, or the log could not be written.
        """
        for interval in self._intervals.add(step, losses, accuracies):
            last = interval["step"]
            learning_rate = float(self._setup.schedule(last - 1))
            self._write("train", last, interval, rate, learning_rate=learning_rate)
        self.step = step

    def log_evaluation(self, step: int, result: dict[str, float], rate) -> None:
        """Takes "loss" and "accuracy" on the split that the run reports on.

        Raises:
          RunError: the log could not be written.
        """
        self._write(self._setup.dataset.held_out_name, step, result, rate)

    def _write(self, split, step, values, rate, **more):
        epoch = -(-step // self._per_epoch)
        fixed = {"step": step, "epoch": epoch, "split": split}
        rate = None if rate is None else round(rate, 1)
        self._log.write({**fixed, **values, **more, "images_per_second": rate})

    def checkpoint(self, state: TrainState, clock: dict[str, float]) -> None:
        """Flushes the log, then saves: a checkpoint's steps are always in the log.

        Args:
          state: all of whose steps have been logged.
          clock: "seconds", "timed_seconds" and "timed_images" since `restore`.

        Raises:
          RunError: a number is not finite, or a file could not be written.
        """
        self._log.flush()
        _check_finite(state)
        notes = self._notes(
            self._intervals.open_interval, self._since_start(clock), list(self._log.records)
        )
        self._checkpoints.save(state, notes)

    def _since_start(self, clock):
        return {name: value + clock[name] for name, value in self._clock.items()}

    def wait(self) -> None:
        """Waits for the checkpoints. Raises a RunError if one could not be written."""
        self._checkpoints.close()

    def close(self) -> None:
        """Frees the log's files."""
        self._log.close()

    def draw(self) -> None:
        """Draws curves.png."""
        config = self._config
        if is_main_process() and self._log.records:
            picture = draw_curves(
                self._log.records,
                title=f"{config.model.name} on {config.dataset.name}",
                drops=configs.drops(config),
            )
            self._folder.write_bytes("curves.png", picture)

    def summarize(self, state: TrainState, clock: dict[str, float], devices) -> dict[str, Any]:
        """Writes summary.json, the sign that it is finished, and returns what it holds."""
        config, held_out = self._config, self._setup.dataset.held_out_name
        final = [record for record in self._log.records if record["split"] == held_out][-1]
        clock = self._since_start(clock)
        timed = clock["timed_seconds"]
        summary = {
            f"{held_out}_accuracy": final["accuracy"],
            f"{held_out}_loss": final["loss"],
            "steps": self.step,
            "epochs": config.train.epochs,
            "images_per_second": round(clock["timed_images"] / timed, 1) if timed else None,
            "seconds": round(clock["seconds"], 2),
            "num_params": sum(leaf.size for leaf in jax.tree.leaves(state.params)),
            "device": f"{len(devices)} x {devices[0].device_kind}",
            "model": config.model.name,
            "dataset": config.dataset.name,
            "seed": self.seed,
        }
        if is_main_process():
            self._folder.write_json("summary.json", summary)
        return summary


def _check_finite(state):
    for path, leaf in jax.tree_util.tree_leaves_with_path(state):
        if not np.isfinite(np.asarray(leaf)).all():
            name = jax.tree_util.keystr(path, simple=True, separator="/")
            raise RunError(
                f"{name} is not finite at step {int(state.step)}; the last checkpoint is from "
                "before. A lower optimizer.learning_rate, in a fresh workdir, may help"
            )
