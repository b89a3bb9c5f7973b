"""Shows runs side by side: python -m rir_jax.compare DIR DIR... [--picture=FILE]

A table of the config fields that differ and of what came of each run: accuracy, loss and time.
Runs that are not finished are shown as far as they are; of several seeds, the means. --picture
draws the curves of all into one PNG file. With --json, one JSON object a run, for programs.
"""

import json
from collections.abc import Sequence

from absl import flags

from rir_jax import cli, files
from rir_jax.errors import InputError
from rir_jax.runs.comparison import Result, differing, read_result

FLAGS = flags.FlagValues()
_PICTURE = flags.DEFINE_string("picture", None, "PNG file for the curves.", FLAGS)
_JSON = flags.DEFINE_bool("json", False, "One JSON object a line.", FLAGS)


def main(arguments: list[str]) -> None:
    if len(arguments) < 2:
        raise InputError(f"{len(arguments)} folders of runs given; allowed: two or more")
    results = [read_result(workdir) for workdir in arguments]
    if _JSON.value:
        fields = differing(results)
        for result in results:
            config = {field: result.config[field] for field in fields}
            print(json.dumps({**result.described(), "config": config}))
    else:
        print(table(results))
    if _PICTURE.value:
        _draw(results, _PICTURE.value)


def table(results: Sequence[Result]) -> str:
    """What differs between runs and what came of each, a column a run."""
    rows = [["", *(result.workdir for result in results)]]
    for field in differing(results):
        rows.append([field, *(_text(result.config[field]) for result in results)])
    for name, describe in _FIGURES.items():
        rows.append([name, *map(describe, results)])
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [map(str.ljust, row, widths) for row in rows]
    return "\n".join("  ".join(line).rstrip() for line in lines)


def _text(value):
    return "unset" if value is None else str(value)


def _accuracy(result):
    if result.accuracy is None:
        return "none yet"
    deviation = result.accuracy_std
    spread = "" if deviation is None else f" ± {100 * deviation:.2f} ({result.seeds} seeds)"
    return f"{100 * result.accuracy:.2f} %{spread}"


def _epochs(result):
    of = "" if result.finished else f" of {result.config['train.epochs']}"
    return f"{result.epochs}{of}"


_FIGURES = {
    "split": lambda result: result.split,
    "accuracy": _accuracy,
    "loss": lambda result: "none yet" if result.loss is None else f"{result.loss:.4f}",
    "epochs": _epochs,
    "seconds": lambda r: "not finished" if r.seconds is None else f"{r.seconds:,.0f}",
    "device": lambda result: _text(result.device),
}


def _draw(results, path):
    from rir_jax.pictures.curves import draw_comparison

    picture = draw_comparison({result.workdir: result.records for result in results})
    with files.refused_writes(f"--picture={path}"):
        files.write(files.path(path), picture)


if __name__ == "__main__":
    cli.start(main, FLAGS)
