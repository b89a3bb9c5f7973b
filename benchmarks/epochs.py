"""Epochs a minute from end to end, ours and the peer's, in turn on one machine.

    python -m benchmarks.epochs --model=rir32 --batch_size=100 --num_train=1000 --num_test=200

All that a run does counts: drawing and augmenting batches, steps, the evaluation after each epoch
and, in ours, metrics, checkpoints and curves. The images are random, of CIFAR-10's shape. The last
lines are a row of docs/performance.md and JSON.
"""

import json

from benchmarks.contenders.peer import SIZES
from benchmarks.rounds import Contender, arguments_parser, compare
from benchmarks.rows import row, spread


def main() -> None:
    parser = arguments_parser(__doc__, batch_size=100, rounds=3, seconds=30.0, models=SIZES)
    parser.add_argument("--num_train", type=int, default=50_000)
    parser.add_argument("--num_test", type=int, default=10_000)
    arguments = parser.parse_args()

    shared = {
        name: getattr(arguments, name)
        for name in ("model", "batch_size", "compute_dtype", "num_train", "num_test")
    }
    contenders = {
        "ours": Contender("OurEpochs", **shared),
        "peer": Contender("PeerEpochs", **shared),
    }
    amounts = dict.fromkeys(contenders, 60.0)  # so that the rate is in epochs a minute
    results = compare(contenders, amounts, arguments.rounds, arguments.seconds)
    ours, peer = results["ours"], results["peer"]
    report = {**shared, **results, "ratio": round(ours["median"] / peer["median"], 3)}
    what = (
        f"{arguments.model}, batch {arguments.batch_size}, {arguments.compute_dtype}, "
        f"{arguments.num_train:,} images and {arguments.num_test:,} to evaluate"
    )
    cells = [what, spread(ours), spread(peer), f"**{report['ratio']:.2f}**"]
    print(row(cells, ours["device"]))
    print(json.dumps(report))


if __name__ == "__main__":
    main()
