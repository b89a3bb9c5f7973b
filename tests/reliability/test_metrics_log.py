"""metrics.jsonl and TensorBoard after a resume: each step once."""

import struct

from tensorboardX.proto.event_pb2 import Event

from rir_jax.runs.metrics import MetricsLog, read_metrics
from rir_jax.runs.workdir import Workdir


def record(step, loss=1.0):
    return {"step": step, "epoch": 1, "split": "train", "loss": loss, "images_per_second": None}


def shown(folder):
    """Steps and losses as TensorBoard shows them: what a later file begins before is forgotten."""
    kept = {}
    for path in sorted(folder.iterdir(), key=lambda path: int(path.name.rsplit(".", 1)[1])):
        content, at = path.read_bytes(), 0
        while at < len(content):
            (size,) = struct.unpack_from("<Q", content, at)
            event = Event.FromString(content[at + 12 : at + 12 + size])
            at += 16 + size
            if event.HasField("session_log"):
                kept = {step: loss for step, loss in kept.items() if step < event.step}
            for value in event.summary.value:
                assert event.step not in kept
                kept[event.step] = value.simple_value
    return kept


def test_a_resumed_log_goes_on_from_the_checkpoints_records(tmp_path):
    workdir = Workdir(tmp_path)
    log = MetricsLog(workdir)
    for step in (1, 2, 3):
        log.write(record(step))
    log.flush()  # and killed here; the checkpoint was at step 2
    with open(tmp_path / "metrics.jsonl", "a") as file:
        file.write('{"step": 4, "lo')
    assert [r["step"] for r in read_metrics(workdir)] == [1, 2, 3]

    log.close()
    resumed = MetricsLog(workdir, [record(1), record(2)], step=2)
    resumed.write(record(3, loss=7.0))
    resumed.close()
    assert read_metrics(workdir) == [record(1), record(2), record(3, loss=7.0)]
    assert shown(tmp_path / "tensorboard") == {1: 1.0, 2: 1.0, 3: 7.0}


def test_two_logs_of_one_second_do_not_overwrite_each_other(tmp_path):
    for step in (0, 1):
        log = MetricsLog(Workdir(tmp_path), [], step)
        log.close()
    assert len(list((tmp_path / "tensorboard").iterdir())) == 2
