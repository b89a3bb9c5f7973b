"""Chips by their published peaks, the networks between them, and topologies to compile for.

Sources: TPU, https://cloud.google.com/tpu/docs/v5e and its siblings (FLOP/s, memory, links in both
directions together); what one link sends, where a slice has no wrap-around and what a hop takes:
https://jax-ml.github.io/scaling-book/tpus and .../sharding. H100: NVIDIA's data sheet of the SXM5
board (989 TFLOP/s dense, 3.35 TB/s, NVLink 900 GB/s in both directions together); latencies are
those by which NCCL chooses its algorithms (``src/graph/tuning.cc``, ring, LL, NVLink).
"""

import dataclasses
import math
import pathlib
import re
from typing import Protocol


class Network(Protocol):
    """How chips of one kind are connected."""

    def bandwidth(self, shape: tuple[int, ...]) -> float:
        """Bytes/s that every chip of a slice of this shape can send at once."""
        ...

    def latency(self, shape: tuple[int, ...]) -> float:
        """Seconds that a sum over all chips takes, however small."""
        ...


@dataclasses.dataclass(frozen=True)
class Grid:
    """Links to neighbours along each axis of a slice.

    Attributes:
      link: bytes/s over one link, in one direction.
      wraps_at: length that an axis must be a multiple of to be closed to a ring. A chip at the end
        of an open axis has one link along it in place of two.
      hop: seconds from a chip to its neighbour.
    """

    link: float
    wraps_at: int
    hop: float = 1e-6

    def bandwidth(self, shape: tuple[int, ...]) -> float:
        return self.link * sum(2 if self._is_ring(axis) else 1 for axis in shape if axis > 1)

    def latency(self, shape: tuple[int, ...]) -> float:
        """That of the longest way from one chip to another."""
        return self.hop * sum(axis // 2 if self._is_ring(axis) else axis - 1 for axis in shape)

    def _is_ring(self, axis):
        return axis % self.wraps_at == 0


@dataclasses.dataclass(frozen=True)
class Switch:
    """Every chip to every other, through one switch.

    Attributes:
      link: bytes/s that a chip sends.
      start: seconds until a sum has begun.
      hop: seconds for each of the steps of a ring, which passes all chips twice.
    """

    link: float
    start: float
    hop: float

    def bandwidth(self, shape: tuple[int, ...]) -> float:
        return self.link

    def latency(self, shape: tuple[int, ...]) -> float:
        return self.start + 2 * (math.prod(shape) - 1) * self.hop


@dataclasses.dataclass(frozen=True)
class Chip:
    """Published peaks of a chip.

    Attributes:
      flops: bfloat16 FLOP/s, dense.
      bandwidth: of its memory, bytes/s.
      network: that connects it to others.
    """

    flops: float
    bandwidth: float
    network: Network

    def seconds_of_bytes(self, size: int, shape: tuple[int, ...]) -> float:
        """Of a sum of ``size`` bytes over a slice's chips: all but one's part is sent twice."""
        chips = math.prod(shape)
        return 2 * (chips - 1) / chips * size / self.network.bandwidth(shape) if chips > 1 else 0.0

    def seconds_of_latency(self, count: int, shape: tuple[int, ...]) -> float:
        """Of so many sums, one after the other, whatever their size."""
        return count * self.network.latency(shape) if math.prod(shape) > 1 else 0.0


CHIPS = {
    "v4": Chip(275e12, 1228e9, Grid(50e9, wraps_at=4)),
    "v5e": Chip(197e12, 819e9, Grid(50e9, wraps_at=16)),
    "v5p": Chip(459e12, 2765e9, Grid(100e9, wraps_at=4)),
    "v6e": Chip(918e12, 1640e9, Grid(100e9, wraps_at=16)),
    "h100": Chip(989e12, 3352e9, Switch(450e9, start=6.6e-6, hop=0.6e-6)),
}


@dataclasses.dataclass(frozen=True)
class Topology:
    """A slice to compile for.

    Attributes:
      text: "v5e:1x1", "v5e:4x4", "v5p:2x2x1", ..., "h100" or "h100:8".

    Raises:
      ValueError: an unknown chip, or what is no shape.

    Examples:
      >>> Topology("v5e:4x4").shape, Topology("h100").shape, Topology("h100:8").platform
      ((4, 4), (1,), 'cuda')
    """

    text: str

    def __post_init__(self):
        if self.name not in CHIPS or not re.fullmatch(r"(:[1-9]\d*(x[1-9]\d*)*)?", self._size):
            raise ValueError(f"topology is {self.text!r}; allowed: {', '.join(CHIPS)}, or v5e:4x4")

    @property
    def name(self) -> str:
        return self.text.partition(":")[0]

    @property
    def _size(self):
        return self.text.removeprefix(self.name)

    @property
    def chip(self) -> Chip:
        return CHIPS[self.name]

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(int(axis) for axis in (self._size[1:] or "1").split("x"))

    @property
    def platform(self) -> str:
        return "cuda" if self.name == "h100" else "tpu"

    def devices(self):
        """The devices, which need not be there."""
        from jax.experimental import topologies

        if self.platform == "cuda":
            description = pathlib.Path(__file__).with_name("h100.txtpb").read_text()
            of_one_host = f"1x1x{math.prod(self.shape)}"
            return topologies.get_topology_desc(
                platform="cuda",
                topology_name="",
                target_config=description,
                topology=of_one_host,
            ).devices
        # A single chip is less than the compiler takes a host to have.
        one = {"chips_per_host_bounds": (1, 1, 1)} if math.prod(self.shape) == 1 else {}
        return topologies.get_topology_desc(platform="tpu", topology_name=self.text, **one).devices
