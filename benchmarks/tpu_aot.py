"""What a TPU would do in a training step, from the program that its compiler makes, without a TPU.

    python -m benchmarks.tpu_aot --model=rir18_wide --topology=v5e:2x2 --batch_per_chip=500

Compiles the body of the training loop as the loop runs it (the batch drawn, augmented, the step
taken) for one chip of a topology, and the same with four convolutions a generalized layer, as
Eq. 1 and 2 are usually written. Needs the package libtpu (the extra ``tpu``); a compilation takes
minutes. FLOPs and bytes are the compiler's own counts, exact and
repeatable; times are what the chip's published peaks allow, not measurements. The last line is
JSON.
"""

import argparse
import contextlib
import json
import os
import re
from unittest import mock

from benchmarks import page

# Published peaks of a chip: bfloat16 FLOP/s and bytes/s of its memory.
PEAKS = {
    "v4": (275e12, 1228e9),
    "v5e": (197e12, 819e9),
    "v5p": (459e12, 2765e9),
    "v6e": (918e12, 1640e9),
}
_BYTES = {"f32": 4, "s32": 4, "u32": 4, "bf16": 2, "s16": 2, "u16": 2, "u8": 1, "s8": 1, "pred": 1}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="rir18_wide")
    parser.add_argument("--topology", default="v5e:2x2", help=f"of {', '.join(PEAKS)}")
    parser.add_argument("--batch_per_chip", type=int, default=500)
    parser.add_argument("--one_form", action="store_true", help="leave out the four convolutions")
    parser.add_argument("--largest", type=int, default=10, help="operations to list by bytes")
    parser.add_argument("--hlo", help="file to write the compiled program to")
    parser.add_argument("--markdown", action="store_true", help="put it into docs/performance.md")
    arguments = parser.parse_args()
    chip = arguments.topology.split(":")[0]
    if chip not in PEAKS:
        parser.error(f"--topology is {arguments.topology!r}; allowed: a topology of {list(PEAKS)}")
    os.environ.update(TPU_SKIP_MDS_QUERY="1", JAX_PLATFORMS="cpu")

    compiled = compile_step(arguments.model, arguments.topology, arguments.batch_per_chip)
    text = compiled.as_text()
    if arguments.hlo:
        with open(arguments.hlo, "w") as file:
            file.write(text)
    report = {
        "model": arguments.model,
        "topology": arguments.topology,
        "batch_per_chip": arguments.batch_per_chip,
        **describe(compiled, text, arguments.batch_per_chip, PEAKS[chip]),
    }
    if not arguments.one_form:
        with four_convolutions():
            four = compile_step(arguments.model, arguments.topology, arguments.batch_per_chip)
        theirs = describe(four, four.as_text(), arguments.batch_per_chip, PEAKS[chip])
        report |= {f"{name}_four_convs": value for name, value in theirs.items()}
    for size, name, shape, source in largest(text, arguments.largest):
        print(
            f"{size / arguments.batch_per_chip / 1e6:6.3f} MB an image  {name}  {shape}  {source}"
        )
    if arguments.markdown:
        print(page.add_row("tpu_aot", cells(report), f"{chip}, compiled for"))
    print(json.dumps(report))


def compile_step(model_name: str, topology: str, batch_size: int):
    """The compiled body of the training loop for one chip, with CIFAR-10's shapes."""
    import jax
    import jax.numpy as jnp
    from jax.experimental import topologies

    import rir_jax
    from rir_jax.devices.mesh import create_mesh, replicated
    from rir_jax.training.setup import build_engine

    devices = topologies.get_topology_desc(platform="tpu", topology_name=topology).devices
    mesh = create_mesh(batch_size, 1, devices[:1])
    config = rir_jax.default_config()
    config.model.name, config.train.batch_size = model_name, batch_size
    config.compute_dtype = "bfloat16"
    engine, _ = build_engine(config, 10, 50_000, (32, 32, 3), mesh)

    def abstract(shape, dtype):
        return jax.ShapeDtypeStruct(shape, dtype, sharding=replicated(mesh))

    arrays = {
        "images": abstract((50_000, 32 * 32 * 3), jnp.uint8),
        "labels": abstract((50_000,), jnp.int32),
        "mean": abstract((3,), jnp.float32),
        "std": abstract((3,), jnp.float32),
    }
    step = jax.jit(engine.step, donate_argnums=0, out_shardings=replicated(mesh))
    order, seed = abstract((50_000,), jnp.int32), abstract((), jnp.uint32)
    return step.trace(engine.abstract_state(), arrays, order, seed).lower().compile()


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


def describe(compiled, text: str, batch_size: int, peaks: tuple[float, float]) -> dict:
    """A compiled step's costs by image, and the images a second that a chip's peaks allow."""
    cost, memory = compiled.cost_analysis(), compiled.memory_analysis()
    flops, accessed = cost["flops"] / batch_size, cost["bytes accessed"] / batch_size
    in_hbm = sum(size for size, *_ in _operations(text, hbm_only=True)) / batch_size
    seconds = max(flops / peaks[0], in_hbm / peaks[1])
    held = memory.argument_size_in_bytes + memory.temp_size_in_bytes
    return {
        "flops_per_image": round(flops),
        "bytes_per_image": round(accessed),
        "hbm_traffic_per_image": round(in_hbm),
        "hbm_bytes": held,
        "roofline_images_per_second": round(1 / seconds),
    }


def largest(text: str, count: int) -> list[tuple[int, str, str, str]]:
    """The operations of a compiled program that move most bytes: bytes, name, shape, source."""
    return sorted(_operations(text, hbm_only=False), reverse=True)[:count]


def _operations(text, hbm_only):
    """Operations of the entry computation with the bytes that they read and write.

    With ``hbm_only``, of arrays in the chip's main memory alone: the compiler marks those in
    on-chip memory by S(1). A copy between the two counts on its main memory side.
    """
    free = ("parameter", "tuple", "get-tuple-element", "bitcast", "constant", "custom-call")
    shapes = {}
    for line in text[text.index("\nENTRY") :].splitlines():
        match = re.match(r"\s*(?:ROOT )?(%[\w.\-]+) = (.*?) ([\w\-]+)\((.*)$", line)
        if match is None:
            continue
        name, shape, operation, rest = match.groups()
        shapes[name] = shape
        if operation in free or operation.endswith("-done"):
            continue
        operands = re.findall(r"%[\w.\-]+", rest.split("), ")[0])
        if operation in ("copy-start", "slice-start"):  # their result names both sides
            sides = re.findall(r"\w+\[[\d,]*\](?:\{[^}]*\})?", shape)
            moved = _size(sides[1] if operation == "slice-start" else sides[0], hbm_only=False)
            both = [side for side in sides[:2] if "S(1)" not in side]
            size = moved * (len(both) if hbm_only else 2)
        else:
            size = _size(shape, hbm_only)
            size += sum(_size(shapes.get(operand, ""), hbm_only) for operand in operands)
        source = re.search(r'op_name="([^"]*)"', line)
        yield size, name, shape[:60], source.group(1)[-80:] if source else ""


def _size(shapes, hbm_only):
    total = 0
    for kind, sizes, layout in re.findall(r"(\w+)\[([\d,]*)\](\{[^}]*\})?", shapes):
        elements = 1
        for size in filter(None, sizes.split(",")):
            elements *= int(size)
        if not (hbm_only and "S(1)" in layout):
            total += elements * _BYTES.get(kind, 0)
    return total


def cells(report: dict) -> list[str]:
    """Of a row, for one convolution a layer and for four."""

    def both(name, scale=1, unit=""):
        values = [report.get(name + suffix) for suffix in ("", "_four_convs")]
        shown = [f"{v / scale:.4g} {unit}" if unit else f"{v:,}" for v in values if v]
        return " / ".join(shown)

    return [
        f"{report['model']}, batch {report['batch_per_chip']} a chip",
        both("flops_per_image", 1e9, "G"),
        both("bytes_per_image", 1e6, "MB"),
        both("hbm_traffic_per_image", 1e6, "MB"),
        both("hbm_bytes", 1e9, "GB"),
        both("roofline_images_per_second"),
    ]


if __name__ == "__main__":
    main()
