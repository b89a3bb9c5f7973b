"""docs/performance.md: its tables hold what the benchmarks measured, and nothing else.

A table stands between ``<!-- NAME -->`` and ``<!-- end of NAME -->``, above a list that has a line
for each row: its command and its machine. (As columns, they would leave the others no room on a
small screen.) A benchmark's ``--markdown`` adds a row, or replaces that of the same command on the
same kind of machine.
"""

import os
import pathlib
import platform
import sys

PAGE = pathlib.Path(__file__).resolve().parents[1] / "docs" / "performance.md"


def add_row(table: str, cells: list[str], machine: str, page: pathlib.Path = PAGE) -> str:
    """Puts a row into a table of the page, and its source into the list below; returns both."""
    text = page.read_text()
    begin, end = f"<!-- {table} -->\n", f"<!-- end of {table} -->\n"
    if begin not in text:
        raise SystemExit(f"{page} has no table {table!r}")
    start = text.index(begin) + len(begin)
    stop = text.index(end, start)
    lines = [line for line in text[start:stop].splitlines() if line]
    head, body = lines[:2], lines[2:]
    rows, sources = body[: len(body) // 2], body[len(body) // 2 :]
    row, source = f"| {' | '.join(cells)} |", f"`{command()}`, {machine}"
    others = [(r, s) for r, s in zip(rows, sources, strict=True) if s[s.index("`") :] != source]
    rows, sources = zip(*others, (row, f"- {cells[0]}: {source}"), strict=True)
    page.write_text("\n".join([text[:start], *head, *rows, "", *sources, "", text[stop:]]))
    return f"{row}\n{source}"


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
