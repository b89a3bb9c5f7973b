"""The example of fine-tuning: it runs, resumes, and draws its figure."""

import runpy
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

EXAMPLE = Path(__file__).parents[2] / "examples" / "finetune_digits.py"


def test_it_runs_resumes_and_draws(tmp_path):
    example = runpy.run_path(str(EXAMPLE))
    sizes = {"counts": (2,), "seeds": 1, "steps": 40, "source_epochs": 4}
    results = example["run"](tmp_path, **sizes)
    assert list(results) == ["from nothing", "from trained weights"]
    [nothing], [weights] = (by_count[2] for by_count in results.values())
    # Chance is 0.5. How much better one start is than the other takes more seeds than a test has.
    assert min(nothing, weights) > 0.65
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    assert example["run"](tmp_path, **sizes) == results
    assert before == {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    example["draw"](results, tmp_path / "finetune.png")
    assert (tmp_path / "finetune.png").read_bytes().startswith(b"\x89PNG")
