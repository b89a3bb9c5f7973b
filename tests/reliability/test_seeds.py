"""Several seeds of one config are stopped and resumed like one run."""

import json

import pytest

from rir_jax import config as configs
from rir_jax.training.loop import train_and_evaluate
from rir_jax.training.pace import Pace
from tools.harness import differences, tiny_config


@pytest.fixture
def config():
    return tiny_config(mesh__data=1, train__epochs=1, num_seeds=2)


def test_a_stop_in_the_second_seed_is_resumed_there(config, tmp_path, monkeypatch):
    train_and_evaluate(config, tmp_path / "whole")
    heard, hear = [], Pace.hear

    def stop_at_the_twelfth(self, answers):
        hear(self, answers)
        heard.append(None)
        if len(heard) == 12:
            self.reason = "the test says so"

    monkeypatch.setattr(Pace, "steps", lambda self, left: min(left, 2))  # 11 calls a seed
    monkeypatch.setattr(Pace, "hear", stop_at_the_twelfth)
    assert train_and_evaluate(config, tmp_path / "stopped") is None
    assert (tmp_path / "stopped/seed_0/summary.json").exists()
    assert not (tmp_path / "stopped/seed_1/summary.json").exists()
    monkeypatch.undo()
    before = (tmp_path / "stopped/seed_0/summary.json").stat().st_mtime_ns
    summary = train_and_evaluate(config, tmp_path / "stopped")
    assert before == (tmp_path / "stopped/seed_0/summary.json").stat().st_mtime_ns
    assert json.loads((tmp_path / "stopped/summary.json").read_text()) == summary
    for seed in ("seed_0", "seed_1"):
        assert differences(tmp_path / "whole" / seed, tmp_path / "stopped" / seed) == []
    assert configs.from_flat(json.loads((tmp_path / "stopped/config.json").read_text())) == config
