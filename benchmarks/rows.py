"""A measurement as docs/performance.md has it: a row of figures, with its command and machine."""

import os
import pathlib
import platform
import sys


def row(cells: list[str], device: str) -> str:
    """A row of a Markdown table, and the line below the table that says where it is from.

    That is this process's command line and machine. As columns, they would leave the others no
    room on a small screen.
    """
    name = "benchmarks." + pathlib.Path(sys.argv[0]).stem
    command = " ".join(["python -m", name, *sys.argv[1:]])
    return f"| {' | '.join(cells)} |\n- {cells[0]}: `{command}`, {machine(device)}"


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
