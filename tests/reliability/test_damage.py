"""A damaged newest checkpoint: named in a warning, set aside, and the run is exact all the same."""

import json
import logging
import pathlib
import shutil

import jax
import pytest

from rir_jax.errors import InputError, RunError
from rir_jax.files import digest_of_json
from rir_jax.runs import checkpoints
from rir_jax.runs.workdir import Workdir
from tools.harness import differences, records_of, state_of, steps_of, tiny_config

# What orbax could not read, it complains of to the interpreter when that tidies up.
pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.usefixtures("tidy"),
]


@pytest.fixture(scope="module")
def half_done(setup, tmp_path_factory):
    """A run that was stopped in its third epoch, with checkpoints at steps 22 and 44."""
    from rir_jax.runs import run as runs
    from tests.reliability.conftest import StopAfter

    folder = Workdir(tmp_path_factory.mktemp("half") / "run")
    with folder.open(setup.config), runs.Run(setup, {0: folder}, StopAfter()) as run:
        run.train_until(44)
        run.wait()
    assert steps_of(folder.path) == [44, 22]
    return folder.path


@pytest.fixture
def workdir(half_done, tmp_path):
    return shutil.copytree(half_done, tmp_path / "run")


def files(checkpoint):
    """Of a checkpoint, the largest first: the arrays, their index, the notes."""
    found = [path for path in pathlib.Path(checkpoint).rglob("*") if path.is_file()]
    return sorted(found, key=lambda path: (-path.stat().st_size, path))


def truncate(checkpoint, part):
    """Cuts the checkpoint's bytes, its files one after another, at a tenth of them."""
    paths = files(checkpoint)
    left = sum(path.stat().st_size for path in paths) * part // 10
    for path in paths:
        size = path.stat().st_size
        if left < size:
            with open(path, "r+b") as file:
                file.truncate(left)
        left = max(0, left - size)


def flip(checkpoint, place):
    """Flips a bit, at one of twelve places, of the file that holds the largest arrays."""
    path = max(pathlib.Path(checkpoint).glob("state/*/d/*"), key=lambda path: path.stat().st_size)
    content = bytearray(path.read_bytes())
    content[len(content) * place // 12] ^= 1 << place % 8
    path.write_bytes(content)


def drop(checkpoint, name):
    next(pathlib.Path(checkpoint).glob(name)).unlink()


def change_a_digit(checkpoint, name):
    """What is still JSON, and says another thing."""
    path = pathlib.Path(checkpoint) / name
    text = path.read_text()
    at = text.index('"accuracy": 0.') + len('"accuracy": 0.')
    path.write_text(text[:at] + ("1" if text[at] != "1" else "2") + text[at + 1 :])


def delete_half(checkpoint, _):
    for path in files(checkpoint)[::2]:
        path.unlink()


DAMAGES = [
    *((truncate, part) for part in range(10)),
    *((flip, place) for place in range(10)),
    *((drop, name) for name in ("state/d/*", "state/manifest.ocdbt", "notes/metadata")),
    (delete_half, 0),
    (change_a_digit, "notes/metadata"),
]


@pytest.mark.parametrize(("damage", "where"), DAMAGES)
def test_the_one_before_is_used_and_the_run_is_exact(damage, where, workdir, reference, go, caplog):
    damage(workdir / "checkpoints/44", where)
    with caplog.at_level(logging.WARNING, "rir_jax"):
        assert go(workdir)["steps"] == 66
    warned = f"checkpoint {workdir}/checkpoints/44 is damaged" in caplog.text
    assert warned == (workdir / "damaged_checkpoints/44").exists()
    assert warned or damage is flip, "only a bit between arrays does no harm"
    assert differences(reference, workdir) == []


def test_most_flipped_bits_do_harm_and_are_seen(half_done, tmp_path, caplog):
    for place in range(10):
        workdir = shutil.copytree(half_done, tmp_path / f"{place}")
        flip(workdir / "checkpoints/44", place)
        state_of(workdir)
    assert caplog.text.count("is damaged") >= 6


def test_orbax_alone_restores_flipped_bits(half_done, tmp_path, monkeypatch):
    """What the digests are for: without them other arrays come back, and not a word."""
    monkeypatch.setattr(checkpoints, "digests", lambda tree: {})
    whole, silent = _bytes(state_of(half_done)), 0
    for place in range(10):
        workdir = shutil.copytree(half_done, tmp_path / f"{place}")
        flip(workdir / "checkpoints/44", place)
        state = state_of(workdir)
        silent += int(state.step) == 44 and _bytes(state) != whole
    assert silent >= 5


def _bytes(state):
    return [leaf.tobytes() for leaf in jax.tree.leaves(state)]


def test_none_left_is_no_reason_to_start_over(workdir, go):
    for step in (22, 44):
        truncate(workdir / f"checkpoints/{step}", 3)
    before = records_of(workdir)
    with pytest.raises(RunError, match=r"all checkpoints in .* are damaged \(44, 22\)"):
        go(workdir)
    assert steps_of(workdir) == [44, 22]
    assert records_of(workdir) == before


def test_lost_checkpoints_are_no_reason_to_start_over(workdir, go):
    shutil.rmtree(workdir / "checkpoints")
    with pytest.raises(RunError, match="has metrics but no checkpoint"):
        go(workdir)


def test_a_damaged_log_is_written_anew_from_the_checkpoint(workdir, reference, go):
    path = workdir / "metrics.jsonl"
    path.write_bytes(b"\xff\x00 nonsense" + path.read_bytes()[40:])
    go(workdir)
    assert differences(reference, workdir) == []


def test_a_lost_config_is_written_anew_from_the_command(workdir, reference, go):
    (workdir / "config.json").unlink()
    go(workdir)
    assert differences(reference, workdir) == []


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff\xfe", b"[" * 100_000])
def test_a_damaged_config_is_told_of(workdir, setup, content):
    (workdir / "config.json").write_bytes(content)
    with pytest.raises(InputError, match=r"config\.json is damaged"):
        Workdir(workdir).check(setup.config)


def test_checkpoints_of_another_model_are_refused(workdir, setup, go):
    import dataclasses

    from rir_jax.training.setup import build

    (workdir / "config.json").unlink()
    other = build(tiny_config(mesh__data=1, model__name="cnn32"))
    with pytest.raises(InputError, match=r"model\.name was 'rir32', now 'cnn32'"):
        go(workdir, setup=dataclasses.replace(setup, config=other.config, engine=other.engine))
    assert not (workdir / "config.json").exists()


def test_what_a_kill_left_half_written_is_cleared_away(workdir, reference, go):
    left = workdir / "checkpoints/66.orbax-checkpoint-tmp"
    shutil.copytree(workdir / "checkpoints/22", left)
    trash = workdir / "checkpoints/0.trash"
    shutil.copytree(workdir / "checkpoints/22", trash)
    go(workdir)
    assert not left.exists()
    assert not trash.exists()
    assert differences(reference, workdir) == []


@pytest.mark.parametrize(("theirs", "ours", "age"), [(2, 1, "a newer"), (1, 2, "an older")])
def test_another_format_is_called_so_and_not_damaged(
    theirs, ours, age, half_done, tmp_path, monkeypatch
):
    folder, state = tmp_path / "run/checkpoints", state_of(half_done)
    monkeypatch.setattr(checkpoints, "FORMAT", theirs)
    _save(folder, state)
    monkeypatch.setattr(checkpoints, "FORMAT", ours)
    with pytest.raises(InputError, match=f"has format {theirs}, of {age} version of rir_jax; allo"):
        checkpoints.Checkpoints(folder).restore(lambda notes: state)
    assert steps_of(folder.parent) == [44]


def test_checkpoints_without_a_format_are_read_as_the_first(half_done, tmp_path):
    folder, state = tmp_path / "run/checkpoints", state_of(half_done)
    _save(folder, state)
    path = folder / "44/notes/metadata"
    notes = json.loads(path.read_text())
    del notes["format"], notes["digest_of_notes"]
    path.write_text(json.dumps({**notes, "digest_of_notes": digest_of_json(notes)}))
    restored, found = checkpoints.Checkpoints(folder).restore(lambda notes: state)
    assert _bytes(restored) == _bytes(state)
    assert found == {"records": []}


def _save(folder, state):
    store = checkpoints.Checkpoints(folder)
    store.save(state, {"records": []})
    store.close()


def test_the_notes_of_a_checkpoint_are_those_of_the_call_whatever_the_loop_does_then(
    setup, tmp_path, monkeypatch
):
    given = []
    save = checkpoints.ocp.args.JsonSave
    monkeypatch.setattr(
        checkpoints.ocp.args, "JsonSave", lambda notes: given.append(notes) or save(notes)
    )
    writer, interval = checkpoints.Checkpoints(tmp_path / "checkpoints"), {"loss": [1.0]}
    writer.save(setup.engine.init(0), {"open_interval": interval})
    interval["loss"].append(2.0)
    writer.close()
    assert given[0]["open_interval"] == {"loss": [1.0]}
