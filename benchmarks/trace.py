"""The part of the time in which a run leaves its device idle, from a trace of the training loop.

    python -m benchmarks.trace --model=rir32 --batch_size=100

It traces steps within an epoch, and then steps around the end of one, with its evaluation and
checkpoint. The gaps are the part of the time in which the device does nothing, from its first
operation to its last. The last lines are a row of docs/performance.md and JSON.
"""

import argparse
import json
import pathlib
import tempfile

from benchmarks.rows import row


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="rir32")
    parser.add_argument("--batch_size", type=int, default=100)
    parser.add_argument("--steps", type=int, default=40, help="steps in each trace")
    parser.add_argument("--num_test", type=int, default=500, help="images to evaluate")
    parser.add_argument("--trace_dir", help="folder to keep the traces in, for TensorBoard")
    arguments = parser.parse_args()

    with tempfile.TemporaryDirectory() as scratch:
        traces = pathlib.Path(arguments.trace_dir or scratch)
        device = record(
            arguments.model, arguments.batch_size, arguments.steps, arguments.num_test, traces
        )
        measured = {
            "within_an_epoch": gaps(traces / "steps"),
            "around_its_end": gaps(traces / "end"),
        }
    cells = [f"{arguments.model}, batch {arguments.batch_size}"]
    for found in measured.values():
        cells.append(f"{100 * found['gaps']:.2f} % of {found['seconds']:.1f} s")
    print(row(cells, device))
    what = {"model": arguments.model, "batch_size": arguments.batch_size, "device": device}
    print(json.dumps({**what, **measured}))


def record(model: str, batch_size: int, steps: int, num_test: int, folder: pathlib.Path) -> str:
    """Runs the training loop and writes two traces into a folder; returns the device."""
    import jax

    from benchmarks.contenders.ours import random_setup
    from rir_jax.runs.interrupt import StopRequest
    from rir_jax.runs.run import Run
    from rir_jax.runs.workdir import Workdir

    options = jax.profiler.ProfileOptions()
    options.python_tracer_level = 0  # it would slow the host, and change the measurement
    warm, per_epoch = 12, 12 + 2 * steps
    setup = random_setup(model, batch_size, "", per_epoch * batch_size, num_test)
    setup.config.train.epochs = 3
    with tempfile.TemporaryDirectory() as path:
        workdir = Workdir(f"{path}/run")
        with (
            workdir.open(setup.config),
            Run(setup, {0: workdir}, StopRequest()) as run,
        ):
            run.train_until(per_epoch + warm)  # past an evaluation and a checkpoint
            with jax.profiler.trace(str(folder / "steps"), profiler_options=options):
                run.train_until(per_epoch + warm + steps)
            with jax.profiler.trace(str(folder / "end"), profiler_options=options):
                run.train_until(2 * per_epoch + steps // 2)
            run.wait()
    return f"{jax.devices()[0].device_kind}"


def gaps(folder: pathlib.Path) -> dict[str, float]:
    """The "seconds" of the newest trace in a folder, and "gaps", the part of them that is idle."""
    import jax

    newest = max(folder.glob("**/*.xplane.pb"))
    planes = list(jax.profiler.ProfileData.from_file(str(newest)).planes)
    devices = [plane for plane in planes if plane.name.startswith("/device:")]
    if devices:
        events = [event for line in devices[0].lines for event in line.events]
    else:  # on a CPU, a program is one event of the thread that runs it
        events = [
            event
            for plane in planes
            for line in plane.lines
            for event in line.events
            if event.name.startswith("ThunkExecutor::Execute") and "PjRtCpu" in line.name
        ]
    part, traced = idle([(event.start_ns, event.start_ns + event.duration_ns) for event in events])
    return {"gaps": round(part, 5), "seconds": round(traced / 1e9, 3)}


def idle(intervals: list[tuple[float, float]]) -> tuple[float, float]:
    """The part of the time from the first start to the last end in no interval, and that time."""
    busy, end = 0.0, float("-inf")
    for start, stop in sorted(intervals):
        busy += max(0.0, stop - max(start, end))
        end = max(end, stop)
    whole = end - min(start for start, _ in intervals)
    return 1 - busy / whole, whole


if __name__ == "__main__":
    main()
