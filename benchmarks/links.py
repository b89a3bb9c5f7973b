"""What it costs to split a training step over chips: one row for each topology.

    python -m benchmarks.links --topologies v5e:1x1 v5e:2x2 v5e:4x4 v5e:8x8
    python -m benchmarks.links --topologies h100 h100:8

Counts and bytes are those of the compiled programs, times are what the links' published rates make
of them (see `benchmarks.aot`, which tells what is needed). Each topology takes a minute or two.
"""

from typing import Any

from benchmarks.aot import arguments_parser, compiled, topology_of

HEADER = (
    "| chips | sums a step | MB | step of a chip, ms | sums, ms: bytes + latency "
    "| images a second, all chips | images a chip at which sums take half |\n"
    "|---|---|---|---|---|---|---|"
)


def main() -> None:
    parser = arguments_parser(__doc__)
    parser.add_argument("--topologies", nargs="+", required=True, help="v5e:4x4, h100:8, ...")
    arguments = parser.parse_args()
    topologies = [topology_of(text, parser) for text in arguments.topologies]
    print(HEADER, flush=True)
    for topology in topologies:
        report, _, _ = compiled(topology, arguments.model, "step", arguments.batch_per_chip)
        print(row(topology.text, len(topology.devices()), report), flush=True)


def row(name: str, chips: int, report: dict[str, Any]) -> str:
    """One topology's line of the table."""
    by_bytes, by_latency = (
        report[f"milliseconds_of_links_by_{what}"] for what in ("bytes", "latency")
    )
    return (
        f"| {name} | {report['num_collectives']} | {report['mb_summed']} "
        f"| {report['milliseconds_of_chip']:.1f} | {by_bytes:.2f} + {by_latency:.2f} "
        f"| {chips * report['images_per_second_at_most']:,} | {report['images_bound_by_links']} |"
    )


if __name__ == "__main__":
    main()
