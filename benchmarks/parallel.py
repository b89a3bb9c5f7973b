"""Images a second of training over several devices, with one seed or several at once.

    python -m benchmarks.parallel --devices 1 2 4 8
    python -m benchmarks.parallel --devices 1 8 --num_seeds 1 4

On a CPU the devices are simulated and share its cores: they show the cost of several devices, not
their gain. Each combination runs in a process of its own, in turn. The last lines are a row of
docs/performance.md and JSON.
"""

import json

from benchmarks.rounds import Contender, arguments_parser, compare
from benchmarks.rows import row, spread


def main() -> None:
    parser = arguments_parser(__doc__, batch_size=64, rounds=3, seconds=5.0)
    parser.add_argument("--devices", type=int, nargs="+", default=[1, 2, 4, 8])
    parser.add_argument("--num_seeds", type=int, nargs="+", default=[1], help="seeds at once")
    arguments = parser.parse_args()

    shared = {
        "model": arguments.model,
        "batch_size": arguments.batch_size,
        "compute_dtype": arguments.compute_dtype,
    }
    simulate = f"--xla_force_host_platform_device_count={max(arguments.devices)}"
    contenders, amounts = {}, {}
    for devices in arguments.devices:
        for seeds in arguments.num_seeds:
            name = f"{devices} devices, {seeds} seeds"
            contenders[name] = Contender(
                "Ours",
                environment={"XLA_FLAGS": simulate},
                training=True,
                devices=devices,
                num_seeds=seeds,
                **shared,
            )
            amounts[name] = seeds * arguments.batch_size
    results = compare(contenders, amounts, arguments.rounds, arguments.seconds)
    first = next(iter(results.values()))
    cells = [
        f"{arguments.model}, batch {arguments.batch_size}, {arguments.compute_dtype}",
        "<br>".join(
            f"{name}: {spread(result)}, {result['median'] / first['median']:.2f}x"
            for name, result in results.items()
        ),
    ]
    print(row(cells, first["device"]))
    print(json.dumps({**shared, **results}))


if __name__ == "__main__":
    main()
