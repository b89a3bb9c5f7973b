"""The programs that are compiled ahead of time are those of today's engine."""

import jax
import pytest

from benchmarks import programs

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("program", programs.PROGRAMS)
def test_every_program_is_lowered(program):
    text = programs.lower("rir32", jax.devices()[:2], 4, program).as_text()
    assert "stablehlo.convolution" in text
    assert ("module @jit_train " in text) == (program == "loop")


@pytest.mark.parametrize(("chips", "batch"), [(1, "2x4x32x32x3"), (4, "8x32x32x3")])
def test_seeds_have_a_group_of_chips_each_or_share_one(chips, batch):
    """Two seeds, four images a chip: batched on one chip, batches of eight on pairs of chips."""
    text = programs.lower("rir32", jax.devices()[:chips], 4, "loop", num_seeds=2).as_text()
    assert f"tensor<{batch}xbf16>" in text


def test_four_convolutions_are_four_where_a_layer_has_two_streams():
    def convolutions():
        lowered = programs.lower("rir32", jax.devices()[:1], 4, "inference")
        return lowered.as_text().count("call @_forward_on_cpu")

    assert convolutions() == 31
    with programs.four_convolutions():
        assert convolutions() == 1 + 4 * 30, "all but the stem; the head is a dense layer"
