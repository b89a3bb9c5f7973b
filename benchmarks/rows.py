"""A measurement in the form of docs/performance.md: a row of figures, its command and machine."""

import os
import pathlib
import platform
import sys


def row(cells: list[str], device: str) -> str:
    """A row of a Markdown table, and a line for below it with this process's command and machine.

    As columns, command and machine would leave the others no room on a small screen.
    """
    name = "benchmarks." + pathlib.Path(sys.argv[0]).stem
    command = " ".join(["python -m", name, *sys.argv[1:]])
    return f"| {' | '.join(cells)} |\n- {cells[0]}: `{command}`, {machine(device)}"


def machine(device: str) -> str:
    """The kind of machine: a contender's device, or the name and number of cores of a CPU."""
    if not device.endswith("cpu"):
        return device
    name = platform.processor() or platform.machine()
    info = pathlib.Path("/proc/cpuinfo")
    if info.exists():
        found = [line for line in info.read_text().splitlines() if line.startswith("model name")]
        name = found[0].partition(":")[2].strip() if found else name
    return f"{len(os.sched_getaffinity(0))} cores of an {name}"


def spread(result: dict) -> str:
    """A median with its extremes: "160 (155 to 163)"."""
    median, *ends = (f"{result[name]:,.4g}" for name in ("median", "least", "most"))
    return f"{median} ({' to '.join(ends)})"
