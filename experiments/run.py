"""Makes a table or figure of the paper: python -m experiments.run --table=cifar10 --workdir=DIR

Running the same command again resumes where it stopped. The report, with the paper's figures
beside ours, is printed and written to DIR/report/TABLE.
"""

import json
import sys

from absl import flags

from experiments import plan, report, table
from experiments.ablate import ablate_results
from experiments.runner import read_table, run_table
from rir_jax import cli, config_fields, files
from rir_jax.errors import InputError

FLAGS = flags.FlagValues()
_TABLE = flags.DEFINE_string("table", None, f"One of {', '.join(table.list_tables())}.", FLAGS)
_WORKDIR = flags.DEFINE_string("workdir", None, "Folder of the runs and the report.", FLAGS)
_SEEDS = flags.DEFINE_integer("seeds", 1, "Number of runs a row.", 1, None, FLAGS)
_TIME_LIMIT = flags.DEFINE_string("time_limit", None, "Stop after this time, such as 9m.", FLAGS)
_SCALE = flags.DEFINE_enum(
    "scale",
    "full",
    ["full", *table.SCALES],
    "Size of the runs: on a CPU, small takes minutes a row, medium an hour or two.",
    FLAGS,
)
_ROWS = flags.DEFINE_multi_string("rows", [], "Label of a row to train; all if unset.", FLAGS)
_REPORT = flags.DEFINE_string("report", None, "Folder of reports; DIR/report if unset.", FLAGS)
_REPORT_ONLY = flags.DEFINE_bool(
    "report_only", False, "Report finished runs and train nothing; others may be training.", FLAGS
)
_DRY_RUN = flags.DEFINE_bool("dry_run", False, "List rows and their cost; run nothing.", FLAGS)
_JSON = flags.DEFINE_bool("json", False, "Print --dry_run's list as JSON, for programs.", FLAGS)
_SET = flags.DEFINE_multi_string(
    "set", [], "Config field to set in all rows: --set=dataset.data_dir=DIR", FLAGS
)


def main(arguments: list[str]) -> None:
    cli.no_arguments(arguments)
    if not _TABLE.value:
        raise InputError(f"--table is missing; allowed: {', '.join(table.list_tables())}")
    overrides = dict(_override(text) for text in _SET.value)
    chosen = table.get_table(_TABLE.value).at_scale(_SCALE.value).with_fields(overrides)
    if _DRY_RUN.value:
        print("Times a few steps here; compiling them may take a minute or two.", file=sys.stderr)
        _print_plan(plan.plan(chosen, _SEEDS.value))
        return
    if not _WORKDIR.value:
        raise InputError("--workdir is missing; see --help")
    limit = None if _TIME_LIMIT.value is None else config_fields.seconds(_TIME_LIMIT.value)
    if limit is not None and not limit > 0:
        raise InputError(f"--time_limit is {_TIME_LIMIT.value!r}; allowed: such as 540, 9m or 1.5h")
    if _REPORT_ONLY.value:
        results, whole = read_table(chosen, _WORKDIR.value, _SEEDS.value), True
    else:
        try:
            results, whole = run_table(chosen, _WORKDIR.value, _SEEDS.value, limit, _ROWS.value)
        except KeyboardInterrupt:
            print("The same command resumes here; --report_only reports.", file=sys.stderr)
            raise
    if chosen.figure == "ablation":
        ablate_results(results)
    reports = files.path(_REPORT.value or f"{_WORKDIR.value}/report")
    print(report.write_report(chosen, results, reports / chosen.name))
    if not whole:
        print("Stopped before the end; the same command resumes here.")


def _override(text):
    """A field's path and value: ("train.epochs", 3) from "train.epochs=3"."""
    path, equals, value = text.partition("=")
    if not equals or path not in config_fields.FIELDS:
        raise InputError(f"--set is {text!r}; allowed: FIELD=VALUE with a field of the config")
    return path, config_fields.parse_text(path, value)


def _print_plan(rows):
    if _JSON.value:
        print(json.dumps(rows))
        return
    names = {"model": "row", "parameters": "parameters", "gflops_per_image": "GFLOP/image"}
    names |= {"images": "images", "images_per_second": "images/s here", "hours": "hours here"}
    print(f"{names.pop('model'):42}", *(f"{name:>13}" for name in names.values()))
    for row in rows:
        print(f"{row['model']:42}", *(f"{row[name]:13,}" for name in names))


if __name__ == "__main__":
    cli.start(main, FLAGS)
