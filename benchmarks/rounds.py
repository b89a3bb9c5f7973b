"""Contenders in processes of their own, timed in turn (A B A B ...), with median and extremes."""

import argparse
import contextlib
import json
import os
import statistics
import subprocess
import sys
from typing import Any


def arguments_parser(doc: str, batch_size: int, rounds: int, seconds: float, models=None):
    """The parser of the arguments that all comparisons share; ``doc`` describes the comparison."""
    parser = argparse.ArgumentParser(description=doc.splitlines()[0])
    parser.add_argument("--model", default="rir32", choices=models)
    parser.add_argument("--batch_size", type=int, default=batch_size, help="images in a step")
    parser.add_argument("--compute_dtype", default="float32", choices=["float32", "bfloat16"])
    parser.add_argument("--rounds", type=int, default=rounds)
    parser.add_argument("--seconds", type=float, default=seconds, help="length of a timing")
    return parser


class Contender:
    """A process that makes one of `benchmarks.contenders` and runs steps on request.

    Args:
      kind: one of `benchmarks.contenders.KINDS`.
      python: the interpreter that runs it; this process's own if None.
      environment: environment variables to set.
      **arguments: the contender's arguments.
    """

    def __init__(self, kind: str, python: str | None = None, environment=None, **arguments: Any):
        self._process = subprocess.Popen(
            [python or sys.executable, "-m", "benchmarks.rounds", kind, json.dumps(arguments)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            # Contenders share a device, of whose memory JAX would take most for itself.
            env={"XLA_PYTHON_CLIENT_PREALLOCATE": "false", **os.environ, **(environment or {})},
        )
        self.info = self._read()

    def run(self, steps: int) -> float:
        """The seconds that ``steps`` steps take."""
        return self._ask({"run": steps})

    def memory(self) -> float:
        """The most bytes of memory that it has used."""
        return self._ask({"memory": True})

    def close(self) -> None:
        """Ends the process."""
        self._process.communicate()

    def _ask(self, question):
        self._process.stdin.write(json.dumps(question) + "\n")
        self._process.stdin.flush()
        return self._read()

    def _read(self):
        line = self._process.stdout.readline()
        if not line:
            raise SystemExit(f"a contender ended with exit code {self._process.wait()}")
        return json.loads(line)


def compare(
    contenders: dict[str, Contender], amounts: dict[str, float], rounds: int, seconds: float
) -> dict[str, dict[str, Any]]:
    """Times contenders in turn.

    Args:
      contenders: the contenders, by name.
      amounts: the amount of a step of each, such as its number of images.
      rounds: number of timings of each, after a round that does not count.
      seconds: the approximate length of a timing.

    Returns:
      For each: amounts a second ("median", "least", "most"), "peak_bytes" and its info.
    """
    steps: dict[str, int] = {}
    rates: dict[str, list[float]] = {name: [] for name in contenders}
    for name, contender in contenders.items():
        contender.run(1)
        steps[name] = max(1, round(seconds / contender.run(2) * 2))
    for _ in range(rounds):
        for name, contender in contenders.items():
            rates[name].append(amounts[name] * steps[name] / contender.run(steps[name]))
    results = {}
    for name, contender in contenders.items():
        results[name] = {
            "median": round(statistics.median(rates[name]), 2),
            "least": round(min(rates[name]), 2),
            "most": round(max(rates[name]), 2),
            "peak_bytes": contender.memory(),
            **contender.info,
        }
        contender.close()
    return results


def _serve(kind, arguments):
    from benchmarks.contenders import KINDS

    real_stdout = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # the output of libraries must not mix with the answers
    with contextlib.redirect_stdout(sys.stderr):
        contender = KINDS[kind](**arguments)
        answer = contender.info
        while True:
            real_stdout.write(json.dumps(answer) + "\n")
            real_stdout.flush()
            line = sys.stdin.readline()
            if not line:
                return
            question = json.loads(line)
            answer = contender.run(question["run"]) if "run" in question else contender.memory()


if __name__ == "__main__":
    _serve(sys.argv[1], json.loads(sys.argv[2]))
