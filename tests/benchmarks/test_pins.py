"""What today's programs cost on chips, by their compilers' own text: nothing creeps back unseen.

Counts are exact, bytes to 2 %. Another compiler may count otherwise: then the figures below change
with constraints.txt, and docs/performance.md with them. Fewer are welcome, and are written down.
"""

import json
import os
import subprocess
import sys

import pytest

TPU = {
    ("v5e:2x2", "rir32", "step", 125): {
        "mb_per_image": 0.072,  # activations stay on the chip
        "mb_summed": 0.943,
        "num_convolutions": 95,
        "num_elementwise": 616,
        "num_collectives": 2 * 31 + 1,  # a batch norm's, forwards and backwards; the gradients
    },
}
CUDA = {
    ("h100", "rir18_wide", "step", 500): {
        "mb_per_image": 29.49,
        "mb_convolutions": 11.14,
        "num_convolutions": 3 * 18 - 1,
        "num_elementwise": 236,
        "num_collectives": 0,
    },
}
PINS = [
    pytest.param(what, pins, marks=getattr(pytest.mark, platform), id=" ".join(map(str, what)))
    for platform, of_platform in (("tpu", TPU), ("cuda", CUDA))
    for what, pins in of_platform.items()
]


@pytest.mark.parametrize(("what", "pins"), PINS)
def test_a_program_costs_what_it_did(what, pins):
    names = ("topology", "model", "program", "batch_per_chip")
    fields = [f"--{name}={value}" for name, value in zip(names, what, strict=True)]
    command = [sys.executable, "-m", "benchmarks.aot", *fields, "--one_form", "--largest=0"]
    environment = {**os.environ, "XLA_FLAGS": ""}  # compiled as for a run, not as for a test
    printed = subprocess.run(
        command, env=environment, stdout=subprocess.PIPE, text=True, check=True
    )
    report = json.loads(printed.stdout.splitlines()[-1])
    assert {name: report[name] for name in pins} == {
        name: pytest.approx(value, rel=0.02) if isinstance(value, float) else value
        for name, value in pins.items()
    }
