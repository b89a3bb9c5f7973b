"""What takes the part of folders and renames; uploads beside the loop; a store that fails."""

import os
import re
import threading
import time

import chex
import jax
import numpy as np
import pytest

import rir_jax
from rir_jax import files
from rir_jax.data import cache, sources
from rir_jax.data.folders import labelled_files
from rir_jax.errors import InputError, RunError
from rir_jax.runs.checkpoints import Checkpoints
from rir_jax.runs.metrics import MetricsLog, read_metrics
from rir_jax.runs.workdir import Workdir
from tests.data.prepared import prepared
from tools import harness


def _whole(folder, *names):
    for name in (*names, files.MARK):
        files.write(folder / name, name.encode())


def test_a_folder_is_whole_once_its_mark_is_there_and_deleted_mark_first(store, monkeypatch):
    parent = files.path("gs://runs/folders [1]*")
    _whole(parent / "1", "a", "b/c")
    files.write(parent / "2" / "a", b"")
    assert files.whole_folders(parent) == [parent / "1"]
    assert files.leftovers(parent) == [parent / "2"]
    assert files.whole_folders(parent / "absent") == []

    files.move_folder(parent / "1", parent / "3")
    assert files.whole_folders(parent) == [parent / "3"]
    assert files.read(parent / "3" / "b" / "c") == b"b/c"

    deleted = []
    monkeypatch.setattr(files.store(), "rm_file", lambda name: deleted.append(name))
    files.remove_folder(parent / "3")
    assert deleted[0].endswith(files.MARK)
    assert len(deleted) == 3


def test_a_folder_that_is_moved_gets_its_mark_last(store, monkeypatch):
    parent = files.path("gs://runs/moved")
    _whole(parent / "1", "a", "z")
    copied = []
    monkeypatch.setattr(files.store(), "cp_file", lambda a, b: copied.append(b))
    files.move_folder(parent / "1", parent / "2")
    assert copied[-1].endswith(files.MARK)


def test_what_is_absent_is_told_as_on_a_disk(store, tmp_path):
    for path in (files.path("gs://runs/absent/file"), tmp_path / "file"):
        with pytest.raises(FileNotFoundError) as caught:
            files.read(path)
        assert str(caught.value) == f"[Errno 2] No such file or directory: '{path}'"
        with pytest.raises(InputError, match=r"file cannot be read: No such file or directory$"):
            labelled_files(path)


def test_what_others_write_is_seen_at_once(store):
    folder = files.path("gs://runs/seen")
    files.write(folder / "a" / files.MARK, b"")
    assert len(files.whole_folders(folder)) == 1
    store.upload(f"seen/b/{files.MARK}", b"")
    assert len(files.whole_folders(folder)) == 2


def test_a_checkpoint_that_is_damaged_is_set_aside_and_the_run_is_exact(store, tmp_path, caplog):
    config = harness.tiny_config(mesh__data=1, train__epochs=3)
    rir_jax.train_and_evaluate(config, tmp_path / "alone")
    workdir = "gs://runs/damaged"
    rir_jax.train_and_evaluate(config, workdir)
    store.file("damaged/summary.json").unlink()
    newest = harness.steps_of(workdir)[0]
    data = store.file(f"damaged/checkpoints/{newest}/state")
    victim = max((p for p in data.rglob("*") if p.is_file()), key=lambda p: p.stat().st_size)
    content = bytearray(victim.read_bytes())
    content[len(content) // 2] ^= 1
    marks = {name: os.getxattr(victim, name) for name in os.listxattr(victim)}
    victim.write_bytes(content)
    for name, value in marks.items():
        os.setxattr(victim, name, value)
    with caplog.at_level("WARNING", "rir_jax"):
        rir_jax.train_and_evaluate(config, workdir)
    assert f"checkpoint {workdir}/checkpoints/{newest} is damaged" in caplog.text
    assert harness.differences(tmp_path / "alone", workdir) == []
    assert any(
        n.endswith(files.MARK) for n in store.objects(f"damaged/damaged_checkpoints/{newest}/")
    )


def test_a_prepared_set_in_a_bucket_is_read_once_and_then_from_the_cache(
    store, tmp_path, monkeypatch
):
    monkeypatch.setenv("RIR_JAX_CACHE", str(tmp_path / "cache"))
    expected = prepared(tmp_path / "data")
    for path in (tmp_path / "data").rglob("*"):
        if path.is_file():
            name = path.relative_to(tmp_path / "data").as_posix()
            files.write(files.path("gs://runs/data") / name, path.read_bytes())
    on_disk = sources.load("cifar10", tmp_path / "data")
    first = sources.load("cifar10", "gs://runs/data")
    np.testing.assert_array_equal(first.train.images, on_disk.train.images)
    np.testing.assert_array_equal(first.held_out.labels, on_disk.held_out.labels)
    monkeypatch.setattr(sources, "_decode", lambda *_: pytest.fail("decoded again"))
    second = sources.load("cifar10", "gs://runs/data")
    np.testing.assert_array_equal(second.train.images, first.train.images)
    assert second.class_names == first.class_names
    changed = next(name for name in store.objects("data/") if "test" in name)
    files.write(files.path(f"gs://runs/{changed}"), store.file(changed).read_bytes())
    folder = sources.prepared_folder("cifar10", "gs://runs/data")
    decoded = []
    cache.arrays(folder, "test", lambda: decoded.append(1) or expected["test"])
    assert decoded, "another version of a file is another entry"
    with pytest.raises(InputError, match="there is no bucket gs://absent"):
        sources.load("cifar10", "gs://absent/data")


def test_the_log_is_uploaded_beside_the_loop_in_order_and_a_failure_is_told_later(
    store, monkeypatch
):
    workdir = Workdir("gs://runs/log")
    log = MetricsLog(workdir)
    log.wait()
    write, released, written = files.write, threading.Event(), []

    def slow(path, content):
        released.wait()
        written.append((path.name.partition(".")[0], len(content)))
        write(path, content)

    monkeypatch.setattr(files, "write", slow)
    record = {"step": 1, "epoch": 1, "split": "train", "loss": 1.0, "accuracy": 0.5}
    log.write(record)
    log.flush()  # would go on for ever if it waited for the upload
    assert read_metrics(workdir) == []
    released.set()
    log.write({**record, "step": 2})
    log.flush()
    log.wait()
    assert [name for name, _ in written] == ["metrics", "events"] * 2
    assert written[2][1] == 2 * written[0][1]
    assert [r["step"] for r in read_metrics(workdir)] == [1, 2]

    monkeypatch.setattr(files, "write", lambda *_: (_ for _ in ()).throw(OSError("gone")))
    log.flush()
    with pytest.raises(RunError, match=r"log/metrics.jsonl could not be written: gone"):
        log.wait()
    monkeypatch.setattr(files, "write", write)
    log.close()


def test_a_store_that_is_gone_for_30_seconds_costs_nothing(store, tmp_path):
    alone = harness.start(tmp_path / "alone", train__epochs=8)
    said = harness.output(alone)
    assert alone.returncode == 0, said
    process = harness.start("gs://runs/outage", train__epochs=8)
    assert harness.wait_until(lambda: len(harness.steps_of("gs://runs/outage")) > 1, process)
    store.wire.cut = True
    time.sleep(30)
    assert process.poll() is None, harness.output(process)
    store.wire.cut = False
    said = harness.output(process)
    assert process.returncode == 0, said
    assert "Traceback" not in said
    assert harness.differences(tmp_path / "alone", "gs://runs/outage") == []


def test_a_checkpoint_whose_upload_gets_no_answer_is_written_again(store, finished, caplog):
    state = harness.state_of(finished[1])
    checkpoints = Checkpoints("gs://runs/unanswered/checkpoints")
    store.wire.losing = b"upload_id="  # the store has the file, and knows the upload no more
    with caplog.at_level("INFO", "rir_jax"):
        checkpoints.save(state, {"records": []})
        checkpoints.close()
    assert store.wire.losing is None
    assert "checkpoint 88 is written again" in caplog.text
    restored, _ = checkpoints.restore(lambda notes: jax.eval_shape(lambda: state))
    chex.assert_trees_all_equal(jax.device_get(restored), state, strict=True)
    assert files.leftovers(checkpoints.folder) == []


def test_a_folder_that_was_taken_over_meanwhile_is_not_written_to_again(store, finished):
    def check_held():
        raise RunError("taken over")

    checkpoints = Checkpoints("gs://runs/lost/checkpoints", check_held=check_held)
    store.wire.losing = b"upload_id="
    checkpoints.save(harness.state_of(finished[1]), {"records": []})
    with pytest.raises(RunError, match="taken over"):
        checkpoints.close()
    assert checkpoints.steps() == []


def test_a_store_that_does_not_answer_is_asked_again(store, monkeypatch):
    import aiohttp

    assert files.store().requests_timeout.sock_read == files.SILENCE
    monkeypatch.setattr(files.store(), "requests_timeout", aiohttp.ClientTimeout(sock_read=0.5))
    store.wire.silent = True
    arguments = files.path("gs://runs/silent/file"), b"content"
    writing = threading.Thread(target=files.write, args=arguments, daemon=True)
    writing.start()
    time.sleep(2)
    store.wire.silent = False
    writing.join(timeout=60)
    assert not writing.is_alive()
    assert files.read("gs://runs/silent/file") == b"content"


@pytest.mark.long
def test_a_store_that_is_gone_for_good_ends_the_run_in_a_line_and_nothing_is_lost(store, tmp_path):
    alone, workdir = tmp_path / "alone", "gs://runs/gone"
    said = harness.output(harness.start(alone, train__epochs=8))
    assert "Traceback" not in said
    process = harness.start(workdir, train__epochs=8)
    assert harness.wait_until(lambda: len(harness.steps_of(workdir)) > 1, process)
    saved = harness.steps_of(workdir)
    store.wire.cut = True
    said = harness.output(process, timeout=1200)  # for as long as it tries again
    assert process.returncode == 1, said
    *_, last = said.strip().splitlines()
    assert re.match(r"error: gs://runs/gone.*could not be written: .*run the same comm", last), said
    assert "Traceback" not in said
    store.wire.cut = False
    assert set(saved) & set(harness.steps_of(workdir))
    said = harness.output(harness.start(workdir, train__epochs=8))
    assert "test accuracy" in said
    assert harness.differences(alone, workdir) == []
