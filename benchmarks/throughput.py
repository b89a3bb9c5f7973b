"""Images a second of training or inference, ours against the peer's, in turn on one machine.

    python -m benchmarks.throughput --model=rir32 --batch_size=128

Needs torch and pytorchcv beside this package (``make test-peers`` installs them). The last line is
JSON.
"""

import argparse
import json

from benchmarks.rounds import Contender, compare


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="rir32", choices=["rir32", "rir18_wide"])
    parser.add_argument("--batch_size", type=int, default=128)
    parser.add_argument("--inference", action="store_true", help="inference, ours folded")
    parser.add_argument("--compute_dtype", default="float32", choices=["float32", "bfloat16"])
    parser.add_argument("--compiled", action="store_true", help="the peer by torch.compile as well")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=5.0, help="of each timing")
    parser.add_argument("--markdown", action="store_true", help="print a row of a table as well")
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
    results = compare(contenders, arguments.batch_size, arguments.rounds, arguments.seconds)
    ours = results["ours"]["images_per_second"]
    best = max(r["images_per_second"] for name, r in results.items() if name != "ours")
    report = {**shared, **results, "ratio": round(ours / best, 3)}
    if arguments.markdown:
        print(markdown(report))
    print(json.dumps(report))


def markdown(report: dict) -> str:
    """A row: what, ours, the peer's best, the ratio."""
    what = "training" if report["training"] else "inference"
    cells = [f"{report['model']}, {what}, batch {report['batch_size']}, {report['compute_dtype']}"]
    for name in ("ours", "peer", "peer_compiled"):
        if name in report:
            r = report[name]
            cells.append(f"{r['images_per_second']:,} ({r['least']:,} to {r['most']:,})")
        else:
            cells.append("")
    return f"| {' | '.join(cells)} | {report['ratio']:.2f} | {report['ours']['device']} |"


if __name__ == "__main__":
    main()
