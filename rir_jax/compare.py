"""Shows runs side by side: python -m rir_jax.compare DIR DIR... [--picture=FILE]

Prints a table of the config fields that differ and of each run's results: accuracy, loss and time.
An unfinished run is shown as far as it has come; a run of several seeds by its means. --picture
draws the curves of all runs into one PNG file; --json prints one JSON object a run, for programs.
"""

import json
from collections.abc import Sequence

from absl import flags

from rir_jax import cli, files
from rir_jax.errors import InputError
from rir_jax.pictures.curves import draw_comparison
from rir_jax.runs.comparison import Result, differing, read_result

FLAGS = flags.FlagValues()
_PICTURE = flags.DEFINE_string("picture", None, "PNG file for the curves.", FLAGS)
_JSON = flags.DEFINE_bool("json", False, "Print one JSON object a line.", FLAGS)


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
        picture = draw_comparison({result.workdir: result.records for result in results})
        with files.refused_writes(f"--picture={_PICTURE.value}"):
            files.write(files.path(_PICTURE.value), picture)


def table(results: Sequence[Result]) -> str:
    """A table of the fields that differ between runs and of their results, a column a run."""
    fields = differing(results)
    columns = [["", *fields, *_figures(results[0])]]
    for result in results:
        values = (_text(result.config[field]) for field in fields)
        columns.append([result.workdir, *values, *_figures(result).values()])
    padded = [[cell.ljust(max(map(len, column))) for cell in column] for column in columns]
    return "\n".join("  ".join(line).rstrip() for line in zip(*padded, strict=True))


def _text(value):
    return "unset" if value is None else str(value)


def _figures(result):
    """The results of a run, in words, by their names."""
    accuracy = "none yet" if result.accuracy is None else f"{100 * result.accuracy:.2f} %"
    if result.accuracy_std is not None:
        accuracy += f" ± {100 * result.accuracy_std:.2f} ({result.seeds} seeds)"
    left = "" if result.finished else f" of {result.config['train.epochs']}"
    return {
        "split": result.split,
        "accuracy": accuracy,
        "loss": "none yet" if result.loss is None else f"{result.loss:.4f}",
        "epochs": f"{result.epochs}{left}",
        "seconds": "not finished" if result.seconds is None else f"{result.seconds:,.0f}",
        "device": _text(result.device),
    }


if __name__ == "__main__":
    cli.start(main, FLAGS)
