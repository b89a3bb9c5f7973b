"""What a GPU or TPU would do, from the program that its compiler makes, without the device.

    python -m benchmarks.aot --topology=h100 --model=rir18_wide --batch_per_chip=500
    python -m benchmarks.aot --topology=v5e:2x2 --program=loop

Compiles a program as a run would have it, for CIFAR-10's shapes in bfloat16, over all chips of a
topology: the body of the training loop (``step``: the batch drawn, augmented, the step taken), the
whole call (``loop``), or folded ``inference``; and the same with four convolutions a generalized
layer, as Eq. 1 and 2 are usually written. FLOPs are those of convolutions and dense layers. Counts
are exact and repeatable (`benchmarks.hlo` says how); times are what the chip's published peaks
allow (`benchmarks.chips`), not measurements. The last line is JSON.

Needs ``jax[cuda12]`` or ``libtpu`` (``make aot`` has both); a TPU program takes a minute or two to
compile, a CUDA program a third of that.
"""

import argparse
import json
import math
import os
import pathlib
from typing import Any

from benchmarks.chips import Topology
from benchmarks.hlo import Program
from benchmarks.programs import (
    IMAGE_SHAPE,
    NUM_CLASSES,
    NUM_IMAGES,
    PROGRAMS,
    four_convolutions,
    lower,
)

EPOCHS = 82
_FIRST = {"tpu": "v5e:1x1", "cuda": "h100"}


def main() -> None:
    parser = arguments_parser(__doc__)
    parser.add_argument("--platform", choices=_FIRST, default="tpu", help="of one chip")
    parser.add_argument("--topology", help="v5e:1x1, v5e:4x4, ... or h100, h100:8")
    parser.add_argument("--program", choices=PROGRAMS, default="step")
    parser.add_argument("--num_seeds", type=int, default=1, help="trained at once, by a loop")
    parser.add_argument("--one_form", action="store_true", help="leave out the four convolutions")
    parser.add_argument("--largest", type=int, default=10, help="operations to list by bytes")
    parser.add_argument("--hlo", help="file to write the compiled program to")
    arguments = parser.parse_args()
    topology = topology_of(arguments.topology or _FIRST[arguments.platform], parser)
    if arguments.num_seeds > 1 and arguments.program != "loop":
        parser.error(f"--num_seeds is {arguments.num_seeds}; allowed: 1, or --program=loop")
    what = {
        "model": arguments.model,
        "program": arguments.program,
        "batch_per_chip": arguments.batch_per_chip,
        "num_seeds": arguments.num_seeds,
    }
    report, program, text = compiled(topology, **what)
    if arguments.hlo:
        pathlib.Path(arguments.hlo).write_text(text)
    images = report["images_per_chip"]
    for operation in sorted(program.operations, key=lambda o: -o.size)[: arguments.largest]:
        print(
            f"{operation.size / images / 1e6:6.3f} MB an image  {operation.kind:12}  "
            f"{operation.name}  {operation.shape[:50]}  {operation.source[-70:]}"
        )
    if not arguments.one_form:
        with four_convolutions():
            report["four_convolutions"] = compiled(topology, **what)[0]
    print(table(report))
    print(json.dumps({"topology": topology.text, **what, **report}))


def arguments_parser(doc: str) -> argparse.ArgumentParser:
    """Of the commands that compile ahead of time, with their shared arguments."""
    # Before JAX is imported. Nothing runs on a TPU: no cloud is asked for one, and other processes
    # may have its library, too.
    os.environ.update(JAX_PLATFORMS="cpu", TPU_SKIP_MDS_QUERY="1", ALLOW_MULTIPLE_LIBTPU_LOAD="1")
    parser = argparse.ArgumentParser(description=doc.splitlines()[0])
    parser.add_argument("--model", default="rir18_wide")
    parser.add_argument("--batch_per_chip", type=int, default=500, help="images of one seed")
    return parser


def topology_of(text: str, parser: argparse.ArgumentParser) -> Topology:
    try:
        return Topology(text)
    except ValueError as error:
        parser.error(str(error))


def compiled(
    topology: Topology, model: str, program: str, batch_per_chip: int, num_seeds: int = 1
) -> tuple[dict[str, Any], Program, str]:
    """A program's costs on each chip, by image of its own; the program and its text."""
    chips = topology.devices()
    executable = lower(model, chips, batch_per_chip, program, num_seeds).compile()
    text, memory = executable.as_text(), executable.memory_analysis()
    counted = Program(text, loop=program == "loop")
    seeds_of_chip = max(1, num_seeds // len(chips))
    images = batch_per_chip * seeds_of_chip
    flops = flops_per_image(model, training=program != "inference")
    report = {
        "images_per_chip": images,
        **costs(counted, images, flops, topology),
        "gb_held": round((memory.argument_size_in_bytes + memory.temp_size_in_bytes) / 1e9, 3),
    }
    if program != "inference":
        rate = report["images_per_second_at_most"] * len(chips)
        report["seconds_82_epochs_at_least"] = round(EPOCHS * NUM_IMAGES * num_seeds / rate, 1)
    return report, counted, text


def costs(program: Program, images: int, flops: int, topology: Topology) -> dict[str, Any]:
    """What a step costs a chip that takes part in it with so many images.

    One kernel after the other: convolutions by the slower of both peaks, the rest by memory. Sums
    over chips come on top, one after the other, each with its latency: those of batch norm wait
    for one another. With fewer images a chip than ``images_bound_by_links``, they take longer than
    the rest of the step.
    """
    chip, moved, counts = topology.chip, program.bytes_by_kind(), program.count_by_kind()
    seconds = max(images * flops / chip.flops, moved["convolutions"] / chip.bandwidth)
    seconds += (moved["elementwise"] + moved["copies"]) / chip.bandwidth
    summed = program.bytes_summed()
    of_bytes = chip.seconds_of_bytes(summed, topology.shape)
    of_latency = chip.seconds_of_latency(counts["collectives"], topology.shape)
    on_links = of_bytes + of_latency
    return {
        "gflops_per_image": round(flops / 1e9, 4),
        "mb_per_image": round(sum(moved.values()) / images / 1e6, 3),
        **{f"mb_{kind}": round(size / images / 1e6, 3) for kind, size in moved.items()},
        **{f"num_{kind}": count for kind, count in counts.items()},
        "mb_summed": round(summed / 1e6, 3),
        "milliseconds_of_chip": round(seconds * 1e3, 3),
        "milliseconds_of_links_by_bytes": round(of_bytes * 1e3, 3),
        "milliseconds_of_links_by_latency": round(of_latency * 1e3, 3),
        "images_bound_by_links": math.ceil(on_links / seconds * images),
        "images_per_second_at_most": round(images / (seconds + on_links)),
    }


def flops_per_image(model_name: str, training: bool) -> int:
    """FLOPs of convolutions and dense layers, a multiplication with its addition being two.

    Training takes them for the outputs, for the gradients of the kernels and, but for the first
    layer, for those of the inputs.
    """
    import rir_jax

    layers = rir_jax.analysis.layers_of(rir_jax.create_model(model_name, NUM_CLASSES), IMAGE_SHAPE)
    forward = 2 * sum(layer.macs for layer in layers)
    return 3 * forward - 2 * layers[0].macs if training else forward


def table(report: dict[str, Any]) -> str:
    """The report in Markdown: one convolution a layer, and four where they were compiled."""
    four = report.get("four_convolutions", {})
    lines = ["| | one convolution a layer | four |", "|---|---|---|"]
    for name, value in report.items():
        if name != "four_convolutions":
            lines.append(f"| {name} | {value:,} | {_shown(four.get(name))} |")
    return "\n".join(lines)


def _shown(value):
    return "" if value is None else f"{value:,}"


if __name__ == "__main__":
    main()
