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
