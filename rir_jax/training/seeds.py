"""Several seeds of one config: a folder for each, and the means and deviations over them."""

import statistics
from typing import Any

import ml_collections

from rir_jax import config as configs
from rir_jax.workdir import Workdir


def train_seeds(config: ml_collections.ConfigDict, folder: Workdir) -> dict[str, Any] | None:
    """Trains ``num_seeds`` networks, of seeds ``seed``, ``seed + 1``, ..., one after another.

    Returns:
      The summary of all, with means, and sample deviations as ``..._std``; None if stopped.
    """
    from rir_jax.training.loop import train_and_evaluate

    summaries = []
    for seed in range(config.seed, config.seed + config.num_seeds):
        one = configs.from_flat({**configs.flatten(config), "seed": seed, "num_seeds": 1})
        summary = train_and_evaluate(one, folder / f"seed_{seed}")
        if summary is None:
            return None
        folder.open(config)
        summaries.append(summary)
    everything = summarize(summaries)
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
