"""Several seeds of one config: a folder for each, and the means and deviations over them."""

import contextlib
import statistics
from collections.abc import Sequence
from typing import Any

from rir_jax import config as configs
from rir_jax.devices.processes import agree_all, is_main_process
from rir_jax.runs.interrupt import StopRequest
from rir_jax.runs.progress import Place
from rir_jax.runs.run import Run
from rir_jax.runs.workdir import Workdir
from rir_jax.training.setup import Setup


def train_seeds(
    setup: Setup, folder: Workdir, stop: StopRequest, place: Place
) -> dict[str, Any] | None:
    """Trains ``num_seeds`` networks, of seeds ``seed``, ``seed + 1``, ...

    It trains ``mesh.seed`` of them at once, one lot after another, on the same data and with the
    same compiled programs. Finished ones are not trained again.

    Args:
      setup: the parts of the runs, which all seeds share.
      folder: the opened folder of all seeds; each seed gets a folder in it.
      stop: the request that ends the seeds in training, and the rest.
      place: the place of these runs among others.

    Returns:
      One summary of all seeds: means, and sample deviations as ``..._std``. None if stopped.

    Raises:
      InputError, RunError: as `Run`.
    """
    config = setup.config
    if is_main_process():
        folder.write_config(configs.flatten(config))
    seeds = range(config.seed, config.seed + config.num_seeds)
    summaries = train_each(setup, folder, seeds, stop, place)
    if summaries is None:
        return None
    summary = summarize(summaries)
    if is_main_process():
        folder.write_json("summary.json", summary)
    return summary


def train_each(
    setup: Setup, folder: Workdir, seeds: Sequence[int], stop: StopRequest, place: Place
) -> list[dict[str, Any]] | None:
    """Trains any seeds, as `train_seeds` does; writes nothing but their folders.

    Returns:
      The summary of each seed, or None if stopped.
    """
    folders = {seed: Workdir(folder / f"seed_{seed}") for seed in seeds}
    for seed, subfolder in folders.items():
        subfolder.check(configs.of_seed(setup.config, seed))
    left = [seed for seed, one in folders.items() if not agree_all(one.finished(setup.config))]
    summaries = {seed: one.summary() for seed, one in folders.items() if seed not in left}
    at_once = setup.engine.num_seeds
    for start in range(0, len(left), at_once):
        lot = left[start : start + at_once]
        lots_after = -(-(len(left) - start - len(lot)) // at_once)
        here = Place(_with_seeds(place.label, lot), place.later + lots_after)
        with contextlib.ExitStack() as stack:
            for seed in lot:
                stack.enter_context(folders[seed].open(configs.of_seed(setup.config, seed)))
            own = {seed: folders[seed] for seed in lot}
            run = stack.enter_context(Run(setup.for_seeds(len(lot)), own, stop, here))
            results = run.finish()
        if results is None:
            return None
        summaries |= zip(lot, results, strict=True)
    return [summaries[seed] or {} for seed in seeds]


def _with_seeds(label, seeds):
    numbers = ", ".join(map(str, seeds))
    numbers = f"seed {numbers}" if len(seeds) == 1 else f"seeds {numbers}"
    return f"{label}, {numbers}" if label else numbers


def summarize(summaries: list[dict[str, Any]]) -> dict[str, Any]:
    """The means and sample deviations of the figures over seeds; the rest is the first seed's."""
    first = summaries[0]
    result = {**first, "num_seeds": len(summaries)}
    for name, value in first.items():
        if name.endswith(("_accuracy", "_loss", "seconds", "images_per_second")) and value:
            values = [summary[name] for summary in summaries]
            result[name] = statistics.mean(values)
            result[f"{name}_std"] = statistics.stdev(values)
    return result
