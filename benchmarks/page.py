"""docs/performance.md: its tables hold what the benchmarks measured, and nothing else.

A table stands between ``<!-- NAME -->`` and ``<!-- end of NAME -->``. A benchmark's ``--markdown``
adds a row to its table, with the command and the machine, or replaces that of the same command on
the same kind of machine.
"""

import os
import pathlib
import platform
import sys

PAGE = pathlib.Path(__file__).resolve().parents[1] / "docs" / "performance.md"


def add_row(table: str, cells: list[str], machine: str, page: pathlib.Path = PAGE) -> str:
    """Puts a row into a table of the page; returns it."""
    text = page.read_text()
    begin, end = f"<!-- {table} -->\n", f"<!-- end of {table} -->\n"
    if begin not in text:
        raise SystemExit(f"{page} has no table {table!r}")
    start = text.index(begin) + len(begin)
    stop = text.index(end, start)
    row = f"| {' | '.join([*cells, f'`{command()}`', machine])} |"
    last = row.split(" | ")[-2:]
    lines = [
        line for line in text[start:stop].strip().splitlines() if line.split(" | ")[-2:] != last
    ]
    page.write_text(f"{text[:start]}\n" + "\n".join([*lines, row]) + f"\n\n{text[stop:]}")
    return row


def command() -> str:
    """This process's command line, as one would type it, without what only says where to write."""
    name = "benchmarks." + pathlib.Path(sys.argv[0]).stem
    where = ("--markdown", "--hlo", "--trace_dir")
    return " ".join(["python -m", name, *(a for a in sys.argv[1:] if not a.startswith(where))])


def machine(device: str) -> str:
    """The kind of machine, from a contender's device: of a CPU, its name and cores."""
    if not device.endswith("cpu"):
        return device
    name = platform.processor() or platform.machine()
    info = pathlib.Path("/proc/cpuinfo")
    if info.exists():
        found = [line for line in info.read_text().splitlines() if line.startswith("model name")]
        name = found[0].partition(":")[2].strip() if found else name
    return f"{len(os.sched_getaffinity(0))} cores of an {name}"


def spread(result: dict) -> str:
    """A median with the least and the most: "160 (155 to 163)"."""
    median, *ends = (f"{result[name]:,.4g}" for name in ("median", "least", "most"))
    return f"{median} ({' to '.join(ends)})"


def gigabytes(size: float | None) -> str:
    """A number of bytes, in GB."""
    return "" if size is None else f"{size / 1e9:.2f}"
