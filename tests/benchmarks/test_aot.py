"""The programs that are compiled ahead of time are those of today's engine."""

import jax
import pytest

from benchmarks import aot

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("program", aot.PROGRAMS)
def test_every_program_is_lowered(program):
    text = aot.lower("rir32", jax.devices()[:2], 4, program).as_text()
    assert "stablehlo.convolution" in text
    assert ("module @jit_train " in text) == (program == "loop")


@pytest.mark.parametrize(("chips", "seconds"), [(1, 0), (2, 1), (4, 1.5)])
def test_a_ring_sends_most_of_a_sum_twice(chips, seconds):
    chip = aot.Chip(flops=1, bandwidth=1, links=1e9)
    assert aot.seconds_of_all_reduce(10**9, chips, chip) == seconds
