"""Several seeds of one config: a folder for each, and the means and deviations over them."""

import dataclasses
import statistics
from typing import Any

from rir_jax import config as configs
from rir_jax.processes import agree_all, is_main_process
from rir_jax.training.interrupt import StopRequest
from rir_jax.training.run import Run
from rir_jax.training.setup import Setup
from rir_jax.workdir import Workdir


def train_seeds(
    setup: Setup, folder: Workdir, stop: StopRequest, label: str
) -> dict[str, Any] | None:
    """Trains ``num_seeds`` networks, of seeds ``seed``, ``seed + 1``, ..., one after another.

    They share the data and the compiled programs. A finished one is not trained again.

    Args:
      setup: of the whole; only the seed differs between them.
      folder: of the whole, entered. Each seed has a folder in it.
      stop: ends the one that runs, and the whole.
      label: put before the progress that is shown.

    Returns:
      The summary of all, with means, and sample deviations as ``..._std``; None if stopped.

    Raises:
      InputError, RunError: as `Run`.
    """
    config, summaries = setup.config, []
    if is_main_process():
        folder.write_config(config)
    for seed in range(config.seed, config.seed + config.num_seeds):
        one = configs.from_flat({**configs.flatten(config), "seed": seed, "num_seeds": 1})
        subfolder = Workdir(folder / f"seed_{seed}")
        subfolder.check(one)
        with subfolder.open(one):
            summary = subfolder.summary()
            if not agree_all(summary is not None):
                one_setup = dataclasses.replace(setup, config=one)
                of_seed = f"{label}, seed {seed}" if label else f"seed {seed}"
                summary = Run(one_setup, subfolder, stop, of_seed).finish()
        if summary is None:
            return None
        summaries.append(summary)
    everything = summarize(summaries)
    if is_main_process():
        folder.write_json("summary.json", everything)
    return everything


def summarize(summaries: list[dict[str, Any]]) -> dict[str, Any]:
    """Means and sample deviations of what differs between seeds; the rest as it is."""
    first = summaries[0]
    result = {**first, "seed": first["seed"], "num_seeds": len(summaries)}
    for name, value in first.items():
        if name.endswith(("_accuracy", "_loss", "seconds", "images_per_second")) and value:
            values = [summary[name] for summary in summaries]
            result[name] = statistics.mean(values)
            result[f"{name}_std"] = statistics.stdev(values)
    return result
