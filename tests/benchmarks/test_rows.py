"""What the benchmarks say of themselves: rows of the page, and idle time."""

import pytest

from benchmarks import rows, trace


def test_a_row_has_the_command_and_the_machine(monkeypatch):
    monkeypatch.setattr("sys.argv", ["/x/benchmarks/speed.py", "--steps=3"])
    result = {"median": 160.04, "least": 155, "most": 1630}
    assert rows.row(["rir32", rows.spread(result)], "1 x NVIDIA H100") == (
        "| rir32 | 160 (155 to 1,630) |\n"
        "- rir32: `python -m benchmarks.speed --steps=3`, 1 x NVIDIA H100"
    )


def test_a_cpu_is_named_with_its_cores():
    assert " cores of an " in rows.machine("1 x cpu")


def test_idle_time_is_what_no_interval_covers():
    assert trace.idle([(10, 14), (12, 13), (13, 15), (18, 20)]) == (pytest.approx(0.3), 10)
    assert trace.idle([(0, 5), (5, 9)]) == (0, 9)
