"""The report of a table: Markdown and CSV beside the paper's figures, with all their sources."""

import csv
import io
import json
import math
import statistics
from typing import Any

from etils import epath

from experiments import figures
from experiments.runner import Result
from experiments.table import Table
from rir_jax import config as configs
from rir_jax import config_fields, files
from rir_jax.runs.metrics import read_metrics
from rir_jax.runs.workdir import Workdir

_COLUMNS = (
    "model",
    "seeds",
    "accuracy",
    "deviation",
    "paper",
    "sure",
    "difference",
    "parameters",
    "device",
    "commit",
    "workdir",
)


def write_report(table: Table, results: list[Result], folder: epath.PathLike) -> str:
    """Writes ``table.md``, ``table.csv``, ``curves.png`` and the table's figures to a folder.

    ``runs.json`` beside them has their sources: the config, summary and learning curve of every
    run, and the measurements on the networks.

    Returns:
      The Markdown.
    """
    home = Workdir(folder)
    files.make_folder(home.path)
    rows = [_row(result) for result in results]
    home.write_bytes("table.csv", _csv(rows).encode())
    home.write_json("runs.json", [_source(result) for result in results])
    pictures = figures.draw(table, results)
    for name, content in pictures.items():
        home.write_bytes(name, content)
    text = _markdown(table, results, rows, pictures)
    home.write_bytes("table.md", text.encode())
    return text


def _row(result: Result) -> dict[str, Any]:
    values, paper = result.accuracies, result.row.paper
    mean = statistics.mean(values) if values else math.nan
    first = result.summaries[0] if values else {}
    return {
        "model": result.row.label,
        "seeds": len(values),
        "accuracy": _rounded(mean),
        "deviation": _rounded(statistics.stdev(values)) if len(values) > 1 else None,
        "paper": paper.accuracy if paper else None,
        "sure": paper.sure if paper else None,
        "difference": _rounded(mean - paper.accuracy) if values and paper else None,
        "parameters": first.get("num_params"),
        "device": _distinct(result.summaries, "device"),
        "commit": _distinct(result.summaries, "commit"),
        "workdir": str(result.workdir.name),
    }


def _distinct(summaries, name):
    """The values that a row's runs have under a name, each once, in the order of the seeds."""
    return ", ".join(dict.fromkeys(s[name] for s in summaries if s.get(name)))


def _source(result):
    """The sources of a row's figures."""
    runs = [_run(path, s) for path, s in zip(result.runs, result.summaries, strict=True)]
    return {"model": result.row.label, "workdir": result.workdir.name, "runs": runs}


def _run(path, summary):
    run = Workdir(path)
    records = [record for record in read_metrics(run) if record["split"] != "train"]
    names = ("epoch", "split", "loss", "accuracy")
    config = {
        field: value
        for field, value in configs.flatten(run.config()).items()
        if field not in config_fields.INERT_FIELDS  # the folder of the data, and the like
    }
    curve = [{name: record[name] for name in names} for record in records]
    ablation = path / "ablation.json"
    measured = {"ablation": json.loads(ablation.read_text())} if ablation.exists() else {}
    return {"summary": summary, "config": config, "curve": curve, **measured}


def _rounded(value):
    return None if math.isnan(value) else round(value, 2)


def _csv(rows):
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, _COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return buffer.getvalue()


def _markdown(table, results, rows, pictures):
    finished = [row for row in rows if row["seeds"]]
    parts = [f"# {table.title}", table.note or ""]
    if finished:
        origins = ("model", "workdir", "commit", "device", "parameters")
        parts += [
            _accuracies(finished),
            _legend(results, rows),
            "\n".join(f"![{name[:-4]}]({name})" for name in pictures),
            _table(origins, [[row[name] for name in origins] for row in finished]),
        ]
    idle = [r.row.label for r in results if not r.summaries and not r.begun and not r.failure]
    if idle:
        parts.append(f"Not run yet: {'; '.join(idle)}.")
    for result in results:
        if result.failure:
            parts.append(f"{result.row.label} failed: {result.failure}")
        elif result.unfinished and result.row.label not in idle:
            parts.append(f"{result.row.label}: {', '.join(result.unfinished)}.")
    return "\n\n".join(filter(None, parts)) + "\n"


def _accuracies(rows):
    """The table of accuracies, beside the paper's if it has a figure for any row."""
    header, beside = ["model", "accuracy, %", "seeds"], ["paper, %", "how sure", "difference"]
    body = []
    for row in rows:
        accuracy = _number(row["accuracy"], ".2f")
        if row["deviation"] is not None:
            accuracy += f" ± {row['deviation']:.2f}"
        paper = [_number(row["paper"], ".2f"), row["sure"], _number(row["difference"], "+.2f")]
        body.append([row["model"], accuracy, row["seeds"], *paper])
    if any(row["paper"] is not None for row in rows):
        return _table(header + beside, body)
    return _table(header, [cells[: len(header)] for cells in body])


def _number(value, form):
    return "" if value is None else format(value, form)


def _table(header, rows):
    """A table in Markdown."""
    lines = [[("" if cell is None else str(cell)) for cell in row] for row in (header, *rows)]
    head, *body = ["| " + " | ".join(cells) + " |" for cells in lines]
    return "\n".join([head, "|" + "---|" * len(header), *body])


def _legend(results, rows):
    sentences = [f"Accuracy of the last epoch on the {_split(results)} split"]
    if any(row["deviation"] is not None for row in rows):
        sentences[0] += "; ± is one sample deviation over seeds"
    if any(row["paper"] is not None for row in rows):
        sentences.append(
            "How sure: A, the paper says so; B, two who implemented or summarized it do; C, not to "
            "be taken for the paper's"
        )
    papers = [(result.row.label, result.row.paper) for result in results]
    sentences += [f"{label}: {paper.note}" for label, paper in papers if paper and paper.note]
    return ". ".join(sentences) + "."


def _split(results):
    summaries = [summary for result in results for summary in result.summaries]
    held_out = any("validation_accuracy" in summary for summary in summaries)
    return "held-out validation" if held_out else "whole test"
