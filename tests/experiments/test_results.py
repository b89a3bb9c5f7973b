"""The committed results are of today's tables, and each figure in them has its run."""

import csv
import json
import pathlib
import re
import statistics

import pytest

from experiments.table import folder_name, get_table

RESULTS = pathlib.Path(__file__).parents[2] / "experiments" / "results"
REPORTS = sorted(path.parent for path in RESULTS.glob("*/*/table.md"))


@pytest.fixture(params=REPORTS, ids=lambda path: "/".join(path.parts[-2:]))
def report(request):
    return request.param


def _read(report):
    rows = list(csv.DictReader((report / "table.csv").read_text().splitlines()))
    return rows, json.loads((report / "runs.json").read_text())


def test_there_are_results():
    assert {path.name for path in REPORTS} >= {"cifar10_32", "ablation", "depth"}


def test_a_report_is_of_the_rows_of_its_table_as_they_are_now(report):
    """The same command would go on with the same runs."""
    table = get_table(report.name).at_scale(report.parent.name)
    expected = [(row.label, folder_name(table.config(row))) for row in table.rows]
    rows, sources = _read(report)
    assert [(row["model"], row["workdir"]) for row in rows] == expected
    assert [(source["model"], source["workdir"]) for source in sources] == expected
    assert f"# {table.title}\n" in (report / "table.md").read_text()


def test_every_figure_is_that_of_its_runs(report):
    rows, sources = _read(report)
    assert any(source["runs"] for source in sources)
    text = (report / "table.md").read_text()
    for row, source in zip(rows, sources, strict=True):
        last = [run["curve"][-1] for run in source["runs"]]
        accuracies = [100 * point["accuracy"] for point in last]
        assert len(accuracies) == int(row["seeds"])
        if not accuracies:
            assert row["accuracy"] == "", "not run yet"
            continue
        assert float(row["accuracy"]) == pytest.approx(statistics.mean(accuracies), abs=0.006)
        assert f"| {row['model']} | {float(row['accuracy']):.2f} " in text
        if len(accuracies) > 1:
            deviation = statistics.stdev(accuracies)
            assert float(row["deviation"]) == pytest.approx(deviation, abs=0.006)
        for run, point in zip(source["runs"], last, strict=True):
            assert point["epoch"] == run["config"]["train.epochs"]
            assert point["accuracy"] == run["summary"][f"{point['split']}_accuracy"]


def test_every_run_has_a_commit_a_device_and_a_seed_of_its_own(report):
    for source in _read(report)[1]:
        summaries = [run["summary"] for run in source["runs"]]
        assert len({summary["seed"] for summary in summaries}) == len(summaries)
        for summary in summaries:
            assert summary["commit"]
            assert not summary["commit"].endswith("dirty"), "of code that is committed"
            assert summary["device"]


def test_every_picture_of_a_report_is_there(report):
    pictures = re.findall(r"\]\(([^)]+)\)", (report / "table.md").read_text())
    assert "curves.png" in pictures
    assert sorted(pictures) == sorted(path.name for path in report.glob("*.png"))


def test_the_readme_has_the_figures_of_the_report():
    readme = (RESULTS.parents[1] / "README.md").read_text()
    for row in _read(RESULTS / "small" / "cifar10_32")[0]:
        line = f"| {row['model']} | {float(row['accuracy']):.2f} ± {float(row['deviation']):.2f} |"
        assert line in readme
