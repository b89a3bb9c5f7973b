"""Runs in a bucket, by the command line, with orbax and gcsfs as a user has them."""

import importlib.util
import json
import signal

import pytest

from rir_jax import files
from rir_jax.errors import RunError
from rir_jax.runs.checkpoints import Checkpoints
from rir_jax.runs.workdir import Workdir
from tests.commands import assert_one_line
from tools import harness

EPOCHS = 12


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """A run in a folder that nobody disturbs."""
    workdir = tmp_path_factory.mktemp("alone") / "run"
    process = harness.start(workdir, train__epochs=EPOCHS)
    said = harness.output(process)
    assert process.returncode == 0, said
    return workdir


def _start_until(workdir, at_write):
    """A process that has saved a checkpoint and, if asked for, is writing the next."""
    newest = max(harness.steps_of(workdir), default=0)
    process = harness.start(workdir, train__epochs=EPOCHS)

    def there():
        saved = max(harness.steps_of(workdir), default=0) > newest
        return saved and (not at_write or harness.being_written(workdir))

    assert harness.wait_until(there, process), harness.output(process)
    return process


def test_a_run_that_is_killed_and_stopped_ends_with_the_bits_of_one_in_a_folder(server, alone):
    workdir = "gs://runs/attacked"
    process = _start_until(workdir, at_write=True)
    process.kill()
    harness.output(process)
    assert harness.being_written(workdir), "the first kill was to hit a checkpoint write"

    process = _start_until(workdir, at_write=False)
    process.send_signal(signal.SIGTERM)
    said = harness.output(process)
    assert process.returncode == 0
    assert f"received SIGTERM: stopped at step {harness.steps_of(workdir)[0]} of" in said

    said = harness.output(harness.start(workdir, train__epochs=EPOCHS))
    assert "test accuracy" in said
    assert harness.differences(alone, workdir) == []
    assert len(harness.steps_of(workdir)) == 2
    assert files.leftovers(files.path(workdir) / "checkpoints") == []
    again = harness.output(harness.start(workdir, train__epochs=EPOCHS))
    assert "is finished already" in again


def test_two_processes_start_and_go_on_with_a_fresh_run(server, tmp_path):
    for workdir in ("gs://runs/several", tmp_path / "several"):
        processes = harness.start_several(workdir)
        said = [harness.output(process) for process in processes]
        assert [process.returncode for process in processes] == [0, 0], said
    assert harness.differences(tmp_path / "several", "gs://runs/several") == []
    longer = harness.start_several("gs://runs/killed", train__epochs=8)
    assert harness.wait_until(lambda: len(harness.steps_of("gs://runs/killed")) > 1, longer[0])
    for process in longer:
        process.kill()
        harness.output(process)
    processes = harness.start_several("gs://runs/killed", train__epochs=8)
    said = [harness.output(process) for process in processes]
    assert [process.returncode for process in processes] == [0, 0], said
    assert harness.steps_of("gs://runs/killed")[0] == 8 * 22
    records = harness.records_of("gs://runs/killed")
    steps = [step for r in records if r["split"] == "train" for step in harness.steps_in(r)]
    assert steps == list(range(1, 8 * 22 + 1))


def test_what_is_there_is_what_a_run_in_a_folder_leaves(store, finished):
    bucket, folder = finished
    assert harness.differences(folder, bucket) == []
    names = {name.split("/")[1] for name in store.objects("finished/")}
    assert names - {".lease"} == {
        *("checkpoints", "config.json", "curves.png", "metrics.jsonl", "summary.json"),
        "tensorboard",
    }
    events = store.objects("finished/tensorboard/")
    assert len(events) == 1
    assert store.file(events[0]).stat().st_size > 5000


def test_it_is_evaluated_predicted_from_and_exported(store, finished, command):
    bucket, folder = finished
    results = [command("rir_jax.evaluate", f"--workdir={run}") for run in (bucket, folder)]
    assert results[0][0] == 0, results[0]
    assert json.loads(results[0][1]) == json.loads(results[1][1])
    assert {"finished/confusion.png", "finished/mistakes.png"} <= set(store.objects("finished/"))

    exports = (f"--output={bucket}/model.jax", f"--weights={bucket}/weights")
    code, out, err = command("rir_jax.export", f"--workdir={bucket}", *exports)
    assert code == 0, err
    assert "the same class for 100.0 %" in out
    sources = (
        f"--workdir={bucket}",
        f"--exported={bucket}/model.jax",
        f"--weights={bucket}/weights",
    )
    said = [command("rir_jax.predict", source, "docs/assets/digit.png") for source in sources]
    assert said[0] == said[1] == said[2] == (0, said[0][1], "")
    assert "digit.png" in said[0][1]
    code, _, err = command("rir_jax.describe", "--model=rir32", f"--svg={bucket}/rir32.svg")
    assert code == 0, err
    assert store.file("finished/rir32.svg").read_text().startswith("<svg")


def test_a_second_run_on_it_is_refused_at_once(store):
    with Workdir("gs://runs/busy").open(harness.tiny_config()):
        before = store.objects("busy/")
        rival = harness.start("gs://runs/busy")
        said = harness.output(rival)
        assert store.objects("busy/") == before
    assert rival.returncode == 2, said
    assert "error: workdir gs://runs/busy is in use by another process (process" in said
    assert "compiling" not in said


def test_a_table_of_experiments(store, command):
    tiny = {
        "dataset.name": "digits",
        "dataset.num_train": 256,
        "dataset.num_test": 100,
        "train.epochs": 2,
        "schedule.warmup_epochs": 0,
        "train.batch_size": 64,
        "model.stem_width": 4,
        "model.widths": "(4,8,8)",
        "model.blocks": "(1,1,1)",
    }
    arguments = [f"--set={name}={value}" for name, value in tiny.items()]
    for _ in range(2):  # made, and found to be there
        code, out, err = command(
            "experiments.run",
            "--table=cifar10_32",
            "--rows=RiR",
            "--workdir=gs://runs/tables",
            *arguments,
        )
        assert code == 0, err
        assert "failed" not in out
    assert any(name.endswith("summary.json") for name in store.objects("tables/"))
    assert {"table.md", "table.csv", "curves.png", "runs.json"} <= {
        name.rpartition("/")[2] for name in store.objects("tables/report/")
    }


@pytest.mark.parametrize(
    ("workdir", "message"),
    [
        ("gs://absent/run", "there is no bucket gs://absent; make it first"),
        ("s3://runs/run", "allowed: gs://BUCKET/NAME"),
        ("gs://", "allowed: gs://BUCKET/NAME"),
    ],
)
def test_a_place_that_is_none_is_refused_in_one_line(store, command, workdir, message):
    config = "--config=configs/quickstart.py"
    assert_one_line(command("rir_jax.train", config, f"--workdir={workdir}"), message)
    assert_one_line(command("rir_jax.evaluate", f"--workdir={workdir}"), message)


def test_without_credentials_one_line_says_how_to_get_them(store, command, finished):
    store.wire.denied = True
    refused = command("rir_jax.evaluate", f"--workdir={finished[0]}")
    assert_one_line(refused, "log in with: gcloud auth application-default login")


def test_a_checkpoint_that_may_not_be_read_is_not_called_damaged(finished, monkeypatch):
    def refuse(*_):
        raise ValueError('PERMISSION_DENIED: Error reading "checkpoints/88/state"')

    folder = Workdir(finished[0]) / "checkpoints"
    monkeypatch.setattr(Checkpoints, "_restore", refuse)
    with pytest.raises(RunError, match=r"checkpoints/88 cannot be read: PERMISSION_DENIED"):
        Checkpoints(folder).restore(lambda notes: None)


def test_without_gcsfs_one_line_names_the_extra(monkeypatch, command):
    find = importlib.util.find_spec
    absent = lambda name: None if name == "gcsfs" else find(name)  # noqa: E731
    monkeypatch.setattr(importlib.util, "find_spec", absent)
    refused = command("rir_jax.evaluate", "--workdir=gs://runs/run")
    assert_one_line(refused, "needs the package gcsfs: pip install 'rir_jax[gcs]'")
