"""What a GPU or TPU would do, from the program that its compiler makes, without the device.

    python -m benchmarks.aot --platform=cuda --topology=h100 --model=rir18_wide --batch_per_chip=500
    python -m benchmarks.aot --platform=tpu --topology=v5e:2x2 --chips=4 --program=loop

Compiles a program as a run would have it, for CIFAR-10's shapes in bfloat16: the body of the
training loop (``step``: the batch drawn, augmented, the step taken), the whole call (``loop``), or
folded ``inference``; and the same with four convolutions a generalized layer, as Eq. 1 and 2 are
usually written. FLOPs are those of convolutions and dense layers. Counts are exact and repeatable
(`benchmarks.hlo` says how); times are what the chip's published peaks allow, not measurements:
for collectives, what its links do, each latency left out. With fewer images a chip than
``batch_per_chip_bound_by_links``, the sums take longer than the rest of the step. The last line is
JSON.

Needs ``jax[cuda12]`` or ``libtpu`` (``make aot`` has both); a TPU program takes a minute or two to
compile, a CUDA program a third of that.
"""

import argparse
import contextlib
import dataclasses
import json
import math
import os
import pathlib
from unittest import mock

from benchmarks.hlo import Program


@dataclasses.dataclass(frozen=True)
class Chip:
    """Published peaks of a chip.

    Attributes:
      flops: bfloat16 FLOP/s, dense.
      bandwidth: of its memory, bytes/s.
      links: what it sends to its neighbours, bytes/s, all links together (half of what is published
        for both directions).
    """

    flops: float
    bandwidth: float
    links: float


CHIPS = {
    "v4": Chip(275e12, 1228e9, 300e9),
    "v5e": Chip(197e12, 819e9, 200e9),
    "v5p": Chip(459e12, 2765e9, 600e9),
    "v6e": Chip(918e12, 1640e9, 400e9),
    "h100": Chip(989e12, 3352e9, 450e9),
}
PROGRAMS = ("step", "loop", "inference")
_IMAGES, _SHAPE, _CLASSES, _EPOCHS = 50_000, (32, 32, 3), 10, 82


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--platform", choices=("tpu", "cuda"), default="tpu")
    parser.add_argument("--topology", help="v5e:2x2, v5p:2x2x1, ... or h100, h100x8")
    parser.add_argument("--chips", type=int, default=1, help="over which a batch is split")
    parser.add_argument("--model", default="rir18_wide")
    parser.add_argument("--batch_per_chip", type=int, default=500)
    parser.add_argument("--program", choices=PROGRAMS, default="step")
    parser.add_argument("--one_form", action="store_true", help="leave out the four convolutions")
    parser.add_argument("--largest", type=int, default=10, help="operations to list by bytes")
    parser.add_argument("--hlo", help="file to write the compiled program to")
    arguments = parser.parse_args()
    topology = arguments.topology or {"tpu": "v5e:2x2", "cuda": "h100"}[arguments.platform]
    name = topology.split(":")[0].split("x8")[0]
    if name not in CHIPS or (name == "h100") != (arguments.platform == "cuda"):
        parser.error(f"--topology is {topology!r}; allowed: one of {', '.join(CHIPS)}")
    os.environ.update(TPU_SKIP_MDS_QUERY="1", JAX_PLATFORMS="cpu")
    available = devices(arguments.platform, topology)
    if not 1 <= arguments.chips <= len(available):
        parser.error(f"--chips is {arguments.chips}; allowed: 1 to {len(available)}, of {topology}")

    def measured():
        lowered = lower(
            arguments.model,
            available[: arguments.chips],
            arguments.batch_per_chip,
            arguments.program,
        )
        return describe(lowered, arguments, CHIPS[name])

    report, program, text = measured()
    if arguments.hlo:
        pathlib.Path(arguments.hlo).write_text(text)
    if not arguments.one_form:
        with four_convolutions():
            report["four_convolutions"] = measured()[0]
    for operation in sorted(program.operations, key=lambda o: -o.size)[: arguments.largest]:
        print(
            f"{operation.size / arguments.batch_per_chip / 1e6:6.3f} MB an image  "
            f"{operation.kind:12}  {operation.name}  {operation.shape[:50]}  "
            f"{operation.source[-70:]}"
        )
    print(table(report))
    where = {"model": arguments.model, "program": arguments.program, "topology": topology}
    sizes = {"chips": arguments.chips, "batch_per_chip": arguments.batch_per_chip}
    print(json.dumps({**where, **sizes, **report}))


def devices(platform: str, topology: str):
    """The devices of a topology that need not be there."""
    from jax.experimental import topologies

    if platform == "tpu":
        return topologies.get_topology_desc(platform="tpu", topology_name=topology).devices
    return topologies.get_topology_desc(
        platform="cuda",
        topology_name="",
        target_config=(pathlib.Path(__file__).parent / "chips" / "h100.txtpb").read_text(),
        topology="1x1x8" if topology.endswith("x8") else "1x1x1",
    ).devices


def lower(model_name: str, chips, batch_per_chip: int, program: str):
    """A program of `PROGRAMS`, lowered for chips that split each batch; ``.compile()`` it."""
    import rir_jax
    from rir_jax.devices.mesh import create_mesh
    from rir_jax.training.setup import build_engine

    batch_size = batch_per_chip * len(chips)
    mesh = create_mesh(batch_size, len(chips), chips)
    config = rir_jax.default_config()
    config.model.name, config.train.batch_size = model_name, batch_size
    config.compute_dtype = "bfloat16"
    engine, _ = build_engine(config, _CLASSES, _IMAGES, _SHAPE, mesh)
    if program == "inference":
        return _lower_inference(engine, mesh, batch_size)
    return _lower_training(engine, mesh, program)


def _lower_training(engine, mesh, program):
    import jax
    import jax.numpy as jnp

    from rir_jax.devices.mesh import replicated

    def abstract(shape, dtype):
        return jax.ShapeDtypeStruct(shape, dtype, sharding=replicated(mesh))

    arrays = {
        "images": abstract((_IMAGES, 32 * 32 * 3), jnp.uint8),
        "labels": abstract((_IMAGES,), jnp.int32),
        "mean": abstract((3,), jnp.float32),
        "std": abstract((3,), jnp.float32),
    }
    state, seed = engine.abstract_state(), abstract((), jnp.uint32)
    if program == "loop":
        of_one = jax.eval_shape(engine.stack, state)
        seeds, stop = jax.ShapeDtypeStruct((1,), jnp.uint32), abstract((), jnp.int32)
        return engine.train.trace(of_one, arrays, seeds, stop).lower()
    step = jax.jit(engine.step, donate_argnums=0, out_shardings=replicated(mesh))
    return step.trace(state, arrays, abstract((_IMAGES,), jnp.int32), seed).lower()


def _lower_inference(engine, mesh, batch_size):
    import jax
    import jax.numpy as jnp
    from jax.sharding import NamedSharding, PartitionSpec

    from rir_jax.devices.mesh import replicated
    from rir_jax.models.fold import fold

    networks = []

    def folded_variables(variables):
        plain, folded = fold(engine.model, variables)
        networks.append(plain)
        return folded

    state = engine.abstract_state()
    shapes = jax.eval_shape(folded_variables, state.variables)
    variables = jax.tree.map(
        lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=replicated(mesh)), shapes
    )
    by_image = NamedSharding(mesh, PartitionSpec("data"))
    images = jax.ShapeDtypeStruct((batch_size, *_SHAPE), jnp.float32, sharding=by_image)
    return jax.jit(networks[0].apply).trace(variables, images).lower()


@contextlib.contextmanager
def four_convolutions():
    """While entered, 3x3 layers over two streams are four convolutions and two sums."""
    from rir_jax.models import streams
    from rir_jax.ops.convolution import convolve

    def four(x, kernel, stride=1):
        if kernel.shape[0] == 1 or kernel.shape[2] % 2:  # the head and the stem
            return convolve(x, kernel, stride)
        to_residual, to_transient = streams.split(kernel)
        width = streams.stream_width(kernel.shape[2])
        residual, transient = streams.split(x)
        return streams.join(
            *(
                convolve(residual, part[:, :, :width], stride)
                + convolve(transient, part[:, :, width:], stride)
                for part in (to_residual, to_transient)
            )
        )

    with mock.patch("rir_jax.models.layers.convolve", four):
        yield


def describe(lowered, arguments, chip: Chip) -> tuple[dict, Program, str]:
    """A program's costs on each chip, by image of its own; the program and its text."""
    compiled = lowered.compile()
    text, memory = compiled.as_text(), compiled.memory_analysis()
    program = Program(text, loop=arguments.program == "loop")
    batch = arguments.batch_per_chip
    moved = program.bytes_by_kind()
    flops = flops_per_image(arguments.model, training=arguments.program != "inference")
    # One kernel after the other: convolutions by the slower of both peaks, the rest by memory.
    seconds = max(batch * flops / chip.flops, moved["convolutions"] / chip.bandwidth)
    seconds += (moved["elementwise"] + moved["copies"]) / chip.bandwidth
    rate = batch / seconds
    summed = moved["collectives"] // 2  # a sum is read and written
    on_links = seconds_of_all_reduce(summed, arguments.chips, chip)
    report = {
        "gflops_per_image": round(flops / 1e9, 4),
        "mb_per_image": round(sum(moved.values()) / batch / 1e6, 3),
        **{f"mb_{kind}": round(size / batch / 1e6, 3) for kind, size in moved.items()},
        **{f"num_{kind}": count for kind, count in program.count_by_kind().items()},
        "collective_bytes": summed,
        "collective_microseconds_at_least": round(on_links * 1e6, 1),
        "batch_per_chip_bound_by_links": math.ceil(on_links * rate),
        "gb_held": round((memory.argument_size_in_bytes + memory.temp_size_in_bytes) / 1e9, 3),
        "images_per_second_at_most": round(rate),
        "seconds_82_epochs_at_least": round(_EPOCHS * _IMAGES / rate / arguments.chips, 1),
    }
    return report, program, text


def seconds_of_all_reduce(size: int, chips: int, chip: Chip) -> float:
    """The least that summing ``size`` bytes over chips takes: a ring sends most of it twice."""
    return 2 * (chips - 1) / chips * size / chip.links


def flops_per_image(model_name: str, training: bool) -> int:
    """FLOPs of convolutions and dense layers, a multiplication with its addition being two.

    Training takes them for the outputs, for the gradients of the kernels and, but for the first
    layer, for those of the inputs.
    """
    import rir_jax

    layers = rir_jax.analysis.layers_of(rir_jax.create_model(model_name, _CLASSES), _SHAPE)
    forward = 2 * sum(layer.macs for layer in layers)
    return 3 * forward - 2 * layers[0].macs if training else forward


def table(report: dict) -> str:
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
