"""Images a second of training or inference, ours and the peer's, in turn on one machine.

    python -m benchmarks.throughput --model=rir32 --batch_size=128

Needs torch and pytorchcv beside this package (``make test-peers`` installs them). The last lines
are a row of docs/performance.md and JSON.
"""

import json

from benchmarks.contenders.peer import SIZES
from benchmarks.rounds import Contender, arguments_parser, compare
from benchmarks.rows import row, spread


def main() -> None:
    parser = arguments_parser(__doc__, batch_size=128, rounds=5, seconds=5.0, models=SIZES)
    parser.add_argument("--inference", action="store_true", help="time inference, ours folded")
    parser.add_argument("--compiled", action="store_true", help="time torch.compile as well")
    arguments = parser.parse_args()

    shared = {
        "model": arguments.model,
        "batch_size": arguments.batch_size,
        "training": not arguments.inference,
        "compute_dtype": arguments.compute_dtype,
    }
    contenders = {"ours": Contender("Ours", **shared), "peer": Contender("Peer", **shared)}
    if arguments.compiled:
        contenders["peer_compiled"] = Contender("Peer", compiled=True, **shared)
    amounts = dict.fromkeys(contenders, arguments.batch_size)
    results = compare(contenders, amounts, arguments.rounds, arguments.seconds)
    best = max(result["median"] for name, result in results.items() if name != "ours")
    report = {**shared, **results, "ratio": round(results["ours"]["median"] / best, 3)}
    print(row(cells(report), results["ours"]["device"]))
    print(json.dumps(report))


def cells(report: dict) -> list[str]:
    """The row's cells: program, images a second, ratio to the peer's best, memory, first calls."""
    what = "training" if report["training"] else "inference"
    all_three = [report.get(name) for name in ("ours", "peer", "peer_compiled")]
    there = [result for result in all_three if result]
    return [
        f"{report['model']}, {what}, batch {report['batch_size']}, {report['compute_dtype']}",
        *(spread(result) if result else "" for result in all_three),
        f"**{report['ratio']:.2f}**",
        " / ".join(f"{result['peak_bytes'] / 1e9:.2f}" for result in there),
        " / ".join(f"{result['compile_seconds']:.0f}" for result in there),
    ]


if __name__ == "__main__":
    main()
