"""What the benchmarks say of themselves: rows of the page, and idle time."""

import pytest

from benchmarks import page, trace


@pytest.fixture
def file(tmp_path, monkeypatch):
    monkeypatch.setattr("sys.argv", ["/x/benchmarks/speed.py", "--steps=3", "--markdown"])
    file = tmp_path / "page.md"
    file.write_text(
        "before\n\n<!-- speed -->\n\n| what |\n|---|\n\n<!-- end of speed -->\n\nafter\n"
    )
    return file


def test_a_row_is_added_and_replaced_by_one_of_the_same_command_and_machine(file, monkeypatch):
    page.add_row("speed", ["1"], "this CPU", file)
    page.add_row("speed", ["2"], "that CPU", file)
    page.add_row("speed", ["3"], "this CPU", file)
    monkeypatch.setattr("sys.argv", ["/x/benchmarks/speed.py"])
    page.add_row("speed", ["4"], "this CPU", file)
    sources = [
        "- 2: `python -m benchmarks.speed --steps=3`, that CPU",
        "- 3: `python -m benchmarks.speed --steps=3`, this CPU",
        "- 4: `python -m benchmarks.speed`, this CPU",
    ]
    table = "\n".join(["| what |", "|---|", "| 2 |", "| 3 |", "| 4 |", "", *sources])
    assert file.read_text() == (
        f"before\n\n<!-- speed -->\n\n{table}\n\n<!-- end of speed -->\n\nafter\n"
    )


def test_a_table_that_is_not_there(file):
    with pytest.raises(SystemExit, match="has no table 'size'"):
        page.add_row("size", ["1"], "this CPU", file)


def test_the_page_has_a_table_for_every_benchmark():
    text = page.PAGE.read_text()
    for table in ("throughput", "epochs", "trace", "parallel", "aot"):
        assert text.count(f"<!-- {table} -->\n\n|") == 1
        assert text.count(f"\n\n<!-- end of {table} -->\n") == 1


def test_idle_time_is_what_no_interval_covers():
    assert trace.idle([(10, 14), (12, 13), (13, 15), (18, 20)]) == (pytest.approx(0.3), 10)
    assert trace.idle([(0, 5), (5, 9)]) == (0, 9)
