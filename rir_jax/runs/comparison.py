"""Several runs side by side: their results, and the config fields in which they differ."""

import dataclasses
import statistics
from collections.abc import Sequence
from typing import Any

from etils import epath

from rir_jax import config as configs
from rir_jax import config_fields
from rir_jax.runs.metrics import read_metrics
from rir_jax.runs.workdir import Workdir


@dataclasses.dataclass(frozen=True)
class Result:
    """The results of a run so far, as means over its seeds.

    Attributes:
      workdir: the run's folder, as given.
      config: all config fields, flat.
      split: the split that the figures are of, "test" or "validation".
      seeds: number of networks that the figures are means over.
      finished: whether the run is finished.
      epochs: number of epochs trained so far.
      accuracy: accuracy in the last evaluation, 0 to 1; None before the first.
      accuracy_std: its sample deviation over seeds; None for a single seed.
      loss: loss in the last evaluation; None before the first.
      seconds: training time; None before the end.
      device: name of the device that the run used; None before the end.
      records: the metrics.jsonl records of each seed.
    """

    workdir: str
    config: dict[str, Any]
    split: str
    seeds: int
    finished: bool
    epochs: int
    accuracy: float | None
    accuracy_std: float | None
    loss: float | None
    seconds: float | None
    device: str | None
    records: tuple[list[dict[str, Any]], ...]

    def described(self) -> dict[str, Any]:
        """The attributes but ``config`` and ``records``, as JSON values."""
        return {name: v for name, v in vars(self).items() if name not in ("config", "records")}


def read_result(workdir: epath.PathLike) -> Result:
    """Reads the results of a run, finished or not, of one seed or several.

    Raises:
      InputError: the folder holds no run.
    """
    folder = Workdir(workdir)
    config = folder.config_of_run()
    seeds = range(config.seed, config.seed + config.num_seeds)
    members = [Workdir(folder / f"seed_{seed}") for seed in seeds]
    members = members if config.num_seeds > 1 else [folder]
    split = "validation" if config.dataset.validation_fraction else "test"
    records = [read_metrics(member) for member in members]
    evaluated = [[record for record in own if record["split"] == split] for own in records]
    last = [own[-1] for own in evaluated if own]
    summaries = [summary for member in members if (summary := member.summary()) is not None]
    accuracies = [record["accuracy"] for record in last]
    return Result(
        workdir=str(workdir),
        config=configs.flatten(config),
        split=split,
        seeds=len(last),
        finished=len(summaries) == len(members),
        epochs=min((record["epoch"] for record in last), default=0),
        accuracy=_mean(accuracies),
        accuracy_std=statistics.stdev(accuracies) if len(accuracies) > 1 else None,
        loss=_mean([record["loss"] for record in last]),
        seconds=_mean([summary["seconds"] for summary in summaries]),
        device=summaries[0]["device"] if summaries else None,
        records=tuple(records),
    )


def _mean(values):
    return statistics.mean(values) if values else None


def differing(results: Sequence[Result]) -> list[str]:
    """The config fields that differ between runs, but for those that change no result."""
    first = results[0].config
    return [
        field
        for field in first
        if field not in config_fields.INERT_FIELDS
        and any(result.config[field] != first[field] for result in results)
    ]
