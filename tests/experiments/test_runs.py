"""Tables that are really run, on the digits: resumed, shared, reported, failing in part."""

import csv
import dataclasses
import json
import shutil

import pytest

import rir_jax
from experiments import figures, plan, publish, report, runner
from experiments.runner import Result, run_table
from experiments.table import Paper, Row, Table, get_table
from rir_jax.errors import InputError
from rir_jax.trained import pretrained
from rir_jax.training import objective
from tests.training.tiny import tiny_config

pytestmark = pytest.mark.slow

TINY = {
    **{f"model.{name}": tiny_config().model[name] for name in ("stem_width", "widths", "blocks")},
    "dataset.name": "digits",
    "augment.crop_padding": 1,
    "train.batch_size": 128,
    "train.epochs": 1,
    "mesh.data": 1,
}
TABLE = Table(
    name="tiny",
    title="Tiny",
    fields=TINY,
    rows=(
        Row("ResNet", {"model.name": "resnet32"}, Paper(50.0, "B")),
        Row("too large", {"model.name": "rir32", "train.batch_size": 5000}),
        Row("RiR", {"model.name": "rir32"}),
    ),
)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    workdir = tmp_path_factory.mktemp("table")
    stopped, whole = run_table(TABLE, workdir, seeds=1, time_limit=1e-9)
    assert not whole
    assert not any(result.summaries for result in stopped)
    results, whole = run_table(TABLE, workdir, seeds=2)
    assert whole
    return workdir, results


def test_a_failing_row_is_named_and_the_others_are_run(finished):
    _, results = finished
    assert [len(result.summaries) for result in results] == [2, 0, 2]
    assert [bool(result.failure) for result in results] == [False, True, False]
    assert results[1].failure.startswith("train.batch_size is 5000; allowed: up to 1442")
    assert [summary["seed"] for summary in results[2].summaries] == [0, 1]


def test_what_is_finished_is_not_run_again(finished):
    workdir, results = finished
    before = {path: path.stat().st_mtime_ns for path in workdir.rglob("summary.json")}
    again, whole = run_table(TABLE, workdir, seeds=2)
    assert whole
    assert [result.summaries for result in again] == [result.summaries for result in results]
    assert before == {path: path.stat().st_mtime_ns for path in workdir.rglob("summary.json")}


def test_chosen_rows_are_trained_in_their_order(tmp_path, monkeypatch):
    trained = []
    monkeypatch.setattr(runner, "_run", lambda *args: trained.append(args[3].label) or True)
    run_table(TABLE, tmp_path, seeds=1, labels=["RiR", "ResNet"])
    assert trained == ["row 1 of 2, RiR", "row 2 of 2, ResNet"]
    with pytest.raises(InputError, match="row 'Rir' is not in table 'tiny'; allowed: ResNet, too"):
        run_table(TABLE, tmp_path, seeds=1, labels=["Rir"])


def test_what_is_not_finished_is_named(finished, tmp_path):
    workdir, results = finished
    assert runner.read_table(TABLE, workdir, seeds=2)[0] == results[0]
    shutil.copytree(workdir, tmp_path / "copy")
    open_run = tmp_path / "copy" / results[0].workdir.name / "seed_1"
    (open_run / "summary.json").unlink()
    some = runner.read_table(TABLE, tmp_path / "copy", seeds=3)
    assert len(some[0].summaries) == 1
    text = report.write_report(TABLE, some, tmp_path / "report")
    assert "ResNet: seed 1 is in epoch 1 of 1, seed 2 is not begun." in text
    assert "RiR: seed 2 is not begun." in text
    with pytest.raises(InputError, match="holds no finished run of table 'tiny'"):
        runner.read_table(TABLE, tmp_path / "empty", seeds=1)


def test_a_row_is_published_with_its_card(finished, tmp_path, monkeypatch):
    _, results = finished
    monkeypatch.setattr(pretrained, "FOLDER", tmp_path)
    folder = publish.publish(results[2], "python -m experiments.run --table=tiny")
    assert folder == tmp_path / "rir32_digits"
    _, _, info = rir_jax.from_pretrained("rir32_digits")
    summary = results[2].summaries[0]
    assert info.card["test_accuracy"] == summary["test_accuracy"]
    assert info.card["num_correct"] == round(summary["test_accuracy"] * 355)
    assert info.card["commit"] == summary["commit"]
    assert info.card["recipe"]["train.batch_size"] == 128


def test_a_field_that_is_not_allowed_stops_before_anything_is_run(tmp_path):
    with pytest.raises(InputError, match=r"train\.epochs is 0; allowed"):
        run_table(TABLE.with_fields({"train.epochs": 0}), tmp_path / "none", seeds=1)
    assert not (tmp_path / "none").exists()


def test_the_report_has_means_deviations_and_origins(finished, tmp_path):
    _, results = finished
    text = report.write_report(TABLE, results, tmp_path / "report")
    first, second = results[0].accuracies
    mean, deviation = (first + second) / 2, abs(first - second) / 2**0.5
    table = (tmp_path / "report" / "table.csv").read_text()
    rows = {row["model"]: row for row in csv.DictReader(table.splitlines())}
    assert float(rows["ResNet"]["accuracy"]) == pytest.approx(mean, abs=0.006)
    assert float(rows["ResNet"]["deviation"]) == pytest.approx(deviation, abs=0.006)
    assert float(rows["ResNet"]["difference"]) == pytest.approx(mean - 50, abs=0.006)
    assert rows["ResNet"]["workdir"] == results[0].workdir.name
    assert rows["ResNet"]["device"] == "1 x cpu"
    assert f"| ResNet | {mean:.2f} ± {deviation:.2f} | 2 | 50.00 | B | {mean - 50:+.2f} |" in text
    assert "too large failed: train.batch_size is 5000" in text
    assert (tmp_path / "report" / "curves.png").read_bytes().startswith(b"\x89PNG")


def test_a_report_without_figures_of_the_paper_has_no_columns_for_them(finished, tmp_path):
    _, results = finished
    bare = [dataclasses.replace(r, row=dataclasses.replace(r.row, paper=None)) for r in results]
    text = report.write_report(TABLE, bare, tmp_path)
    assert "| model | accuracy, % | seeds |\n" in text
    assert "paper" not in text


def test_rows_that_are_not_begun_have_one_line_and_no_empty_ones(finished, tmp_path):
    _, results = finished
    idle = [
        dataclasses.replace(results[0], row=Row(label, {}), workdir=tmp_path, summaries=())
        for label in ("first", "second")
    ]
    idle = [dataclasses.replace(r, unfinished=("seed 0 is not begun",)) for r in idle]
    text = report.write_report(TABLE, [*idle, results[0]], tmp_path / "report")
    assert "Not run yet: first; second." in text
    assert "| first" not in text
    assert "first: seed 0" not in text


def test_a_plan_shows_the_rate_and_json_when_asked(command):
    narrow = ["--set=model.widths=(4,8)", "--set=model.blocks=(1,1)", "--set=model.stem_width=4"]
    arguments = ["--table=ablation", "--dry_run", "--scale=small", *narrow]
    code, out, err = command("experiments.run", *arguments)
    assert (code, len(out.splitlines())) == (0, 3)
    assert err == "Times a few steps here; compiling them may take a minute or two.\n"
    assert "images/s here" in out.splitlines()[0]
    _, out, _ = command("experiments.run", *arguments, "--json")
    for row in json.loads(out):
        seconds = row["images"] / row["images_per_second"]
        assert row["hours"] == pytest.approx(seconds / 3600, rel=0.02, abs=0.001)


def test_every_commit_that_a_row_was_run_at_is_named(finished, tmp_path):
    _, results = finished
    summaries = [
        {**s, "commit": commit}
        for s, commit in zip(results[0].summaries, ("abc", "def"), strict=True)
    ]
    result = dataclasses.replace(results[0], summaries=tuple(summaries))
    assert "| abc, def | 1 x cpu |" in report.write_report(TABLE, [result], tmp_path)


def test_curves_are_of_all_seeds(finished):
    from matplotlib.figure import Figure

    _, results = finished
    axes = Figure().subplots()
    figures._curves(axes, results[:1])
    (line,) = axes.get_lines()
    expected = sum(results[0].accuracies) / 2
    assert line.get_ydata()[-1] == pytest.approx(expected)
    assert len(axes.collections) == 1, "the range over seeds"


def test_the_ablation_figure_by_the_command_line(tmp_path, command):
    settings = [f"--set={name}={value}" for name, value in TINY.items()]
    settings += ["--set=dataset.num_train=256", "--set=dataset.num_test=64", "--seeds=2"]

    def start(time_limit):
        arguments = ["--table=ablation", f"--workdir={tmp_path}", *settings, "--scale=small"]
        code, out, _ = command("experiments.run", *arguments, f"--time_limit={time_limit}")
        assert code == 0
        return out

    assert "Stopped before the end; the same command resumes" in start("0.001s")
    assert not list(tmp_path.glob("*/seed_*/summary.json"))
    text = start("1h")
    assert "# ablation, with other fields" in text
    assert "Stopped" not in text
    report_folder = tmp_path / "report" / "ablation"
    for name in ("ablation_rir32.png", "streams_rir32.png"):
        assert (report_folder / name).read_bytes().startswith(b"\x89PNG")
    sources = json.loads((report_folder / "runs.json").read_text())
    assert [source["model"] for source in sources] == ["RiR", "ResNet Init"]
    runs_of_rir = sources[0]["runs"]
    assert [one["summary"]["seed"] for one in runs_of_rir] == [0, 1]
    for one in runs_of_rir:
        found = one["ablation"]
        assert found["none"] == one["summary"]["test_accuracy"], "of this run's network"
        assert set(found["blocks"]["stage1_block1"]) == {"residual", "transient"}
        assert set(found["stream_norms"]) == set(found["filter_norms"]) == {"before", "after"}
        assert one["config"]["model.name"] == "rir32"
        assert [point["epoch"] for point in one["curve"]] == [1]
        assert one["summary"]["test_loss"] == one["curve"][-1]["loss"]
    assert runs_of_rir[0]["ablation"] != runs_of_rir[1]["ablation"]


def test_a_plan_needs_no_data_and_scales_with_depth():
    narrow = {"model.stem_width": 4, "model.widths": (4, 8), "model.blocks": (1, 1)}
    depth = get_table("depth").at_scale("small")
    rows = plan.plan(depth.with_fields({**narrow, "dataset.data_dir": "absent"}), seeds=3)
    assert [row["model"] for row in rows] == [row.label for row in depth.rows]
    assert rows[0]["images"] == 3 * 8 * 5000
    assert rows[0]["parameters"] == rows[1]["parameters"] < rows[2]["parameters"]
    forward = 9 * (3 * 4 * 1024 + 2 * 4 * 4 * 1024 + (4 * 8 + 8 * 8) * 256) + 8 * 10
    of_images = 9 * 3 * 4 * 1024  # no gradient is asked for
    assert rows[0]["gflops_per_image"] == round((6 * forward - 2 * of_images) / 1e9, 6)
    assert rows[2]["gflops_per_image"] > 1.5 * rows[0]["gflops_per_image"]
    assert all(row["hours"] > 0 for row in rows)


def test_leaving_the_identity_in_decays_it(monkeypatch):
    """The row "left in" of the l2 table: weight decay on W + I in place of W."""
    import jax
    import jax.numpy as jnp
    import numpy as np

    from rir_jax.models.network import shortcuts
    from rir_jax.training.setup import build_model, build_optimizer

    table = get_table("l2").with_fields(TINY)
    for row, factor in zip(table.rows[:2], (0.0, 1.0), strict=True):
        config = table.config(row)
        model = build_model(config, 10)
        shapes = jax.eval_shape(model.init, jax.random.key(0), jnp.zeros((1, 8, 8, 1)))["params"]
        params = jax.tree.map(lambda leaf: jnp.ones(leaf.shape), shapes)
        optimizer, _ = build_optimizer(config, model, 1)
        zeros = jax.tree.map(jnp.zeros_like, params)
        updates, _ = optimizer.update(zeros, optimizer.init(params), params)
        penalized = objective.penalized(params)
        expected = jax.tree.map(
            lambda w, on, s, factor=factor: -0.1 * 1e-4 * (w * on + factor * s),
            params,
            penalized,
            shortcuts(model, params),
        )
        jax.tree.map(lambda u, e: np.testing.assert_allclose(u, e, rtol=1e-5), updates, expected)
    assert float(shortcuts(model, params)["stage2_block1"]["conv1"]["kernel"].sum()) == 2


def test_accuracies_are_in_percent_of_whatever_split():
    row = Row("RiR", {})
    result = Result(row, None, ({"test_accuracy": 0.5}, {"validation_accuracy": 0.25}))
    assert result.accuracies == [50.0, 25.0]
