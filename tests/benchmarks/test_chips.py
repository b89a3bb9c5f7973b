"""What the links between chips make of a sum, against times worked out by hand."""

import pytest

from benchmarks.chips import Chip, Grid, Switch, Topology

GRID = Chip(flops=1, bandwidth=1, network=Grid(link=1e9, wraps_at=4, hop=1e-3))
SWITCH = Chip(flops=1, bandwidth=1, network=Switch(link=1e9, start=1e-3, hop=1e-4))


@pytest.mark.parametrize(
    ("chip", "shape", "of_bytes", "of_latency"),
    [
        (GRID, (1, 1), 0, 0),
        (GRID, (2, 1), 1, 1e-3),  # half of it is sent to the neighbour, and half back
        (GRID, (2, 2), 1.5 / 2, 2e-3),  # three quarters twice, over a link along either axis
        (GRID, (4, 4), 2 * 15 / 16 / 4, 4e-3),  # rings: two links an axis, half as far
        (GRID, (5, 1), 2 * 4 / 5, 4e-3),
        (SWITCH, (1,), 0, 0),
        (SWITCH, (8,), 2 * 7 / 8, 1e-3 + 14e-4),
    ],
)
def test_a_sum_over_chips(chip, shape, of_bytes, of_latency):
    assert chip.seconds_of_bytes(10**9, shape) == pytest.approx(of_bytes)
    assert chip.seconds_of_latency(3, shape) == pytest.approx(3 * of_latency)


@pytest.mark.parametrize("text", ["v9:2x2", "h200", "v5e:0x2", "v5e:2xtwo"])
def test_an_unknown_topology_is_refused(text):
    with pytest.raises(ValueError, match=f"topology is '{text}'; allowed: v4"):
        Topology(text)
