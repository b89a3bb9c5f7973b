"""One network of a run, in its folder: restored, logged, saved and summarized."""

import math
from typing import Any

import jax
import numpy as np

from rir_jax import config as configs
from rir_jax import random_numbers
from rir_jax.devices.processes import agree_equal, is_main_process
from rir_jax.errors import InputError, RunError
from rir_jax.pictures.attempt import attempt
from rir_jax.pictures.curves import draw_curves
from rir_jax.pictures.examples import example_images
from rir_jax.runs.checkpoints import Checkpoints, named_leaves
from rir_jax.runs.metrics import Intervals, MetricsLog, check_losses, read_metrics
from rir_jax.runs.workdir import Workdir, check_same
from rir_jax.training.setup import Setup
from rir_jax.training.step import TrainState


class Member:
    """One seed of a run: its checkpoints, metrics, curves and summary. `restore` makes it.

    Attributes:
      seed: the member's random seed.
      first: the step that the member was restored at.
      step: the last step whose metrics are logged.
    """

    def __init__(
        self,
        setup: Setup,
        folder: Workdir,
        checkpoints: Checkpoints,
        lasting: dict[str, Any],
        step: int,
        notes: dict[str, Any],
    ):
        self.seed, self.first, self.step = lasting["config"]["seed"], step, step
        self._setup, self._folder, self._config = setup, folder, setup.config
        self._lasting = lasting
        self._per_epoch = setup.engine.batches.steps_per_epoch
        self._checkpoints = checkpoints
        self._clock = {"seconds": 0.0, "timed_seconds": 0.0, "timed_images": 0, **notes["clock"]}
        self._log = MetricsLog(folder, notes["records"], step)
        self._intervals = Intervals(
            self._config.train.log_every_steps, self._per_epoch, notes["open_interval"]
        )
        self._before = self._intervals.open_interval["loss"][-3:]

    @classmethod
    def restore(cls, setup: Setup, folder: Workdir, seed: int) -> tuple["Member", TrainState]:
        """The member of a seed and its state, from the newest intact checkpoint or fresh.

        A fresh state is saved at once, so that checkpoints that are missing later are lost ones.

        Args:
          setup: the parts of the run.
          folder: the opened folder of this seed.
          seed: the member's random seed.

        Raises:
          InputError: the checkpoints belong to another config or to other data, or the weights to
            start from cannot be used.
          RunError: the checkpoints are damaged or lost, or the first could not be written.
        """
        keep = setup.config.checkpoint.keep
        checkpoints = Checkpoints(folder / "checkpoints", keep, folder.check_held)
        lasting = {  # what all checkpoints of a seed have in their notes
            "config": configs.flatten(configs.of_seed(setup.config, seed)),
            "dataset": setup.dataset.described(),
            "random": random_numbers.signature(),
        }
        state, notes = _read(checkpoints, lasting, setup, folder) or _start(
            checkpoints, lasting, setup, folder
        )
        if is_main_process():
            folder.write_config(lasting["config"])
        member = cls(setup, folder, checkpoints, lasting, int(state.step), notes)
        if member.step == 0:
            augment, dataset = setup.config.augment, setup.dataset
            pictures = dataset.train.images
            examples = example_images(pictures, augment.crop_padding, augment.flip, seed)
            member._log.describe(lasting["config"], examples, dataset.held_out_name)
        return member, state

    def log_training(self, step: int, losses: np.ndarray, accuracies: np.ndarray, rate) -> None:
        """Logs the metrics of the steps up to ``step``, with the images per second.

        Raises:
          RunError: a loss is not finite, or the log could not be written.
        """
        check_losses(step, losses, self._before, self._setup.schedule)
        self._before = [*self._before, *losses.tolist()][-3:]
        for interval in self._intervals.add(step, losses, accuracies):
            last = interval["step"]
            learning_rate = float(np.float32(self._setup.schedule(last - 1)))  # as that step used
            self._write("train", last, interval, rate, learning_rate=learning_rate)
        self.step = step

    def log_evaluation(self, step: int, result: dict[str, float], rate) -> None:
        """Logs "loss" and "accuracy" on the split that the run reports on.

        Raises:
          RunError: the loss is not finite, or the log could not be written.
        """
        split = self._setup.dataset.held_out_name
        if not math.isfinite(result["loss"]):
            raise RunError(
                f"the loss on the {split} split is {result['loss']} at step {step}, though the "
                "training losses up to there are finite: only the evaluation uses running "
                "statistics and averaged weights; the last checkpoint is from before"
            )
        self._write(split, step, result, rate)

    def _write(self, split, step, values, rate, **more):
        epoch = -(-step // self._per_epoch)
        fixed = {"step": step, "epoch": epoch, "split": split}
        rate = None if rate is None else round(rate, 1)
        record = {**fixed, **values, **more, "images_per_second": rate}
        self._log.write(record)
        if self._setup.on_record is not None and is_main_process():
            self._setup.on_record({"seed": self.seed, **record})

    def checkpoint(self, state: TrainState, clock: dict[str, float]) -> None:
        """Flushes the log, then saves: the log has every step of a checkpoint.

        Args:
          state: the state, whose steps have all been logged.
          clock: "seconds", "timed_seconds" and "timed_images" since `restore`.

        Raises:
          RunError: a number in the state is not finite, or a file could not be written.
        """
        self._folder.check_held()
        self._log.flush()
        self._check_finite(state)
        changing = {
            "records": list(self._log.records),
            "open_interval": self._intervals.open_interval,
            "clock": self._since_start(clock),
        }
        self._checkpoints.save(state, self._lasting | changing)

    def _check_finite(self, state):
        for name, array in named_leaves(state).items():
            if not np.isfinite(array).all():
                rate = float(self._setup.schedule(self.step - 1))
                raise RunError(
                    f"{name} is not finite at step {self.step}, whose update had a learning rate "
                    f"of {rate:.4g}; all losses up to it are finite, and the last checkpoint is "
                    "from before"
                )

    def _since_start(self, clock):
        return {name: value + clock[name] for name, value in self._clock.items()}

    def wait(self) -> None:
        """Waits until checkpoints and log are written; a RunError if one could not be."""
        self._checkpoints.close()
        self._log.wait()

    def close(self) -> None:
        """Frees the log's files."""
        self._log.close()

    def draw(self) -> None:
        """Draws curves.png; if it cannot be drawn, a warning says so."""
        config = self._config
        if is_main_process() and self._log.records:
            with attempt("curves.png"):
                picture = draw_curves(
                    self._log.records,
                    title=f"{config.model.name} on {config.dataset.name}",
                    drops=configs.drops(config),
                )
                self._folder.write_bytes("curves.png", picture)

    def summarize(self, state: TrainState, clock: dict[str, float], devices) -> dict[str, Any]:
        """Writes summary.json, which marks the run as finished; returns its content."""
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


def _read(checkpoints, lasting, setup, folder):
    def abstract_state(notes):
        check_same(lasting["config"], notes["config"], f"a checkpoint in {checkpoints.folder}")
        setup.dataset.check_same(notes["dataset"], f"the run in {folder.path}")
        _check_random_numbers(lasting["random"], notes.get("random"), f"the run in {folder.path}")
        return setup.engine.abstract_state()

    checkpoints.clear_leftovers()
    restored = checkpoints.restore(abstract_state)
    agree_equal(-1 if restored is None else int(restored[0].step), "the newest checkpoint")
    if restored is not None:
        checkpoints.set_aside_after(int(restored[0].step))
    return restored


def _start(checkpoints, lasting, setup, folder):
    if read_metrics(folder):
        raise RunError(
            f"workdir {folder.path} has metrics but no checkpoint; put its "
            "checkpoints back, or move it away to start over"
        )
    state = setup.first_state(lasting["config"]["seed"])
    notes = lasting | {"records": [], "open_interval": None, "clock": {}}
    checkpoints.save(state, notes)
    checkpoints.wait()
    return state, notes


def _check_random_numbers(here, earlier, where):
    """Refuses to go on with other random numbers than before; older notes do not have them."""
    if earlier and earlier["numbers"] != here["numbers"]:
        was, now = (
            " and ".join(f"{name} {value}" for name, value in of.items() if name != "numbers")
            for of in (earlier, here)
        )
        raise InputError(
            f"{where} drew its random numbers with {was}; with {now} they differ; allowed: what "
            "it began with, or another workdir"
        )
