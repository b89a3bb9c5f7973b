"""The runner of a table's rows: it resumes, skips finished runs, and survives a row that fails."""

import dataclasses
import json
import logging
import subprocess
import time
from collections.abc import Sequence
from typing import Any

from etils import epath

from experiments import plan
from experiments.table import Row, Table, folder_name
from rir_jax import config as configs
from rir_jax import files, loop
from rir_jax.devices.mesh import seeds_at_once
from rir_jax.errors import InputError, RunError
from rir_jax.runs.interrupt import StopRequest
from rir_jax.runs.metrics import read_metrics
from rir_jax.runs.progress import Place
from rir_jax.runs.seeds import train_each
from rir_jax.runs.workdir import Workdir

_log = logging.getLogger("rir_jax.experiments")


@dataclasses.dataclass(frozen=True)
class Result:
    """The result of a row.

    Attributes:
      row: the row of the table.
      workdir: the folder of the row's runs.
      summaries: the summaries of the finished runs, one a seed.
      failure: the error that the row ended with, in words; None if it had none.
      unfinished: the state of each unfinished run that was asked for, in words.
    """

    row: Row
    workdir: epath.Path
    summaries: tuple[dict[str, Any], ...]
    failure: str | None = None
    unfinished: tuple[str, ...] = ()

    @property
    def runs(self) -> list[epath.Path]:
        """The folders of the finished runs, in the order of ``summaries``."""
        return [self.workdir / f"seed_{summary['seed']}" for summary in self.summaries]

    @property
    def begun(self) -> bool:
        """Whether a run of the row has begun."""
        return any(self.workdir.glob("seed_*/config.json"))

    @property
    def accuracies(self) -> list[float]:
        """The accuracies of the finished runs, in percent."""
        splits = ("test_accuracy", "validation_accuracy")
        return [100 * s[split] for s in self.summaries for split in splits if split in s]


def run_table(
    table: Table,
    workdir: epath.PathLike,
    seeds: int,
    time_limit: float | None = None,
    labels: Sequence[str] = (),
) -> tuple[list[Result], bool]:
    """Trains the unfinished runs of a table.

    Args:
      table: the table, at its scale and with its fields set.
      workdir: the folder that gets a folder for each row; tables may share it, and rows of the
        same config then share their runs.
      seeds: number of runs a row, of seeds 0, 1, ...
      time_limit: seconds after which the current run ends at a checkpoint.
      labels: the labels of the rows to train, in that order; all rows if empty.

    Returns:
      A result for each row, and whether all runs that did not fail are finished.

    Raises:
      InputError: a field or a label is not allowed; nothing has been run.
    """
    root = files.path(workdir)
    deadline = None if time_limit is None else time.monotonic() + time_limit
    configs_of_rows = {row.label: table.config(row) for row in table.rows}
    for config in configs_of_rows.values():
        configs.validate(config)
    folders = {label: root / folder_name(config) for label, config in configs_of_rows.items()}
    chosen = table.chosen(labels)
    todo = [
        (number, row, lot)
        for first in range(seeds)  # the first seed of every row comes before the second of any
        for number, row in enumerate(chosen, 1)
        if (lot := _left(folders[row.label], _lot(configs_of_rows[row.label], first, seeds)))
    ]
    work = [len(lot) * plan.work(configs_of_rows[row.label]) for _, row, lot in todo]
    failures, stopped = {}, False
    for position, (number, row, lot) in enumerate(todo):
        if stopped or row.label in failures:
            continue
        label = f"row {number} of {len(chosen)}, {row.label}"
        place = Place(label, sum(work[position + 1 :]) / work[position])
        try:
            stopped = not _run(configs_of_rows[row.label], folders[row.label], lot, place, deadline)
        except (InputError, RunError) as error:
            failures[row.label] = str(error)
            _log.warning("%s failed: %s", label, error)
    return _results(table, folders, seeds, failures), not stopped


def read_table(table: Table, workdir: epath.PathLike, seeds: int) -> list[Result]:
    """The results of a table so far: what `run_table` returns, without any training.

    Raises:
      InputError: a field is not allowed, or no run of the table is finished.
    """
    root = files.path(workdir)
    folders = {row.label: root / folder_name(table.config(row)) for row in table.rows}
    results = _results(table, folders, seeds, {})
    if not any(result.summaries for result in results):
        raise InputError(f"workdir {root} holds no finished run of table {table.name!r}")
    return results


def _results(table, folders, seeds, failures):
    return [
        Result(
            row,
            folder,
            tuple(_summaries(folder)),
            failures.get(row.label),
            tuple(_unfinished(folder, seeds)),
        )
        for row, folder in zip(table.rows, folders.values(), strict=True)
    ]


def _unfinished(folder, seeds):
    """The states of the unfinished runs of the first seeds, in words."""
    for seed in range(seeds):
        run = Workdir(folder / f"seed_{seed}")
        if run.summary() is None:
            records, config = read_metrics(run), run.config()
            if config is None or not records:
                yield f"seed {seed} is not begun"
            else:
                yield f"seed {seed} is in epoch {records[-1]['epoch']} of {config.train.epochs}"


def _lot(config, first, seeds):
    """The seeds that are trained at once from ``first`` on; none if ``first`` is within a lot."""
    batch_size, mesh = config.train.batch_size, config.mesh
    at_once = mesh.seed or seeds_at_once(seeds, batch_size, mesh.data)
    return range(first, min(first + at_once, seeds)) if first % at_once == 0 else ()


def _left(folder, seeds):
    """The seeds among ``seeds`` whose runs in a row's folder are not finished."""
    return [seed for seed in seeds if Workdir(folder / f"seed_{seed}").summary() is None]


def _run(config, folder, left, place, deadline):
    """Starts or resumes a row's runs of some seeds. Returns whether they are finished."""
    of_these = {"seed": left[0], "num_seeds": len(left), "mesh.seed": len(left)}
    config = configs.with_fields(config, of_these)
    limit = None if deadline is None else deadline - time.monotonic()
    if limit is not None and limit <= 0:
        return False
    with StopRequest(limit) as stop:
        config, source = loop.complete(config, None, Workdir(folder / f"seed_{left[0]}"))
        setup = loop.set_up(config, source=source)
        summaries = train_each(setup, Workdir(folder), left, stop, place)
    if summaries is not None:
        for seed in left:
            _note_origin(folder / f"seed_{seed}")
    return summaries is not None


def _note_origin(workdir):
    """Writes the commit that a run was finished with, beside its summary."""
    described = subprocess.run(
        ["git", "describe", "--always", "--dirty"], capture_output=True, text=True, check=False
    )
    origin = {"commit": described.stdout.strip() or None}
    Workdir(workdir).write_json("origin.json", origin)


def _summaries(folder):
    for path in sorted(folder.glob("seed_*/summary.json"), key=lambda p: int(p.parent.name[5:])):
        origin = path.parent / "origin.json"
        yield {
            **json.loads(path.read_text()),
            **(json.loads(origin.read_text()) if origin.exists() else {}),
        }
