"""Exports a trained network: python -m rir_jax.export --workdir=DIR --output=FILE

FILE gets the inference function with its weights and preprocessing (jax.export). It takes any batch
size and runs wherever jax and flatbuffers are installed. --onnx=FILE writes the same function for
ONNX's runtimes, checked against onnxruntime. --weights=FOLDER writes the weights alone, as
safetensors with a JSON description and a model card, the form that hubs take. --pretrained=NAME
exports a network that comes with the package in place of a run's.
"""

from functools import partial

from absl import flags

from rir_jax import cli, extras, files
from rir_jax.errors import InputError, RunError

FLAGS = flags.FlagValues()
_WORKDIR = flags.DEFINE_string("workdir", None, "Folder of a finished run.", FLAGS)
_PRETRAINED = flags.DEFINE_string("pretrained", None, "Name of a published network.", FLAGS)
_OUTPUT = flags.DEFINE_string("output", None, "File for the inference function.", FLAGS)
_PLATFORMS = flags.DEFINE_list(
    "platforms", ["cpu", "cuda", "tpu"], "Platforms that --output is for.", flag_values=FLAGS
)
_ONNX = flags.DEFINE_string("onnx", None, "File for the inference function in ONNX.", FLAGS)
_WEIGHTS = flags.DEFINE_string("weights", None, "Folder for the weights alone.", FLAGS)
_CLOSE = 1e-4  # the largest difference that ONNX may make, as a part of the largest logit


def main(arguments: list[str]) -> None:
    cli.no_arguments(arguments)
    cli.one_of(_WORKDIR, _PRETRAINED)
    if not (_OUTPUT.value or _ONNX.value or _WEIGHTS.value):
        raise InputError("--output, --onnx and --weights are missing; allowed: one of them or more")
    if _ONNX.value:
        extras.require("--onnx", "onnx", "onnxruntime")
    from rir_jax.trained.load import load_finished
    from rir_jax.trained.weights import from_pretrained

    name, workdir = _PRETRAINED.value, _WORKDIR.value
    network = from_pretrained(name) if name else load_finished(workdir)
    if _OUTPUT.value:
        print(write_function(*network, _OUTPUT.value, _PLATFORMS.value))
    if _ONNX.value:
        print(write_onnx(*network, _ONNX.value))
    if _WEIGHTS.value:
        print(write_weights(*network, _WEIGHTS.value))


def write_function(model, variables, info, path: str, platforms: list[str]) -> str:
    """Writes the inference function, and compares it with the network; returns a description."""
    import jax

    from rir_jax.trained import exported

    # The more exact type on whatever machine exports, unless the run's config names another.
    if info.config is None or info.config.compute_dtype is None:
        model = model.clone(dtype=jax.numpy.float32)
    size = exported.write(exported.export(model, variables, info, platforms), info, path)
    count = sum(leaf.size for leaf in jax.tree.leaves(variables["params"]))
    text = (
        f"{path}: {size / 1e6:.2f} MB, {count:,} parameters, {_shapes(model, info)}, for "
        f"{', '.join(platforms)}"
    )
    if not exported.runs_on(platforms):
        return f"{text}\nnot compared with the live network: this machine is none of these"
    function, _ = exported.read(path)
    found = exported.difference(jax.jit(function.call), model, variables, info)
    return f"{text}\n{_describe(found)}"


def write_onnx(model, variables, info, path: str) -> str:
    """Writes the inference function in ONNX, once onnxruntime agrees; returns a description.

    Raises:
      InputError: the file cannot be written.
      RunError: onnxruntime computes something else.
    """
    import jax

    from rir_jax.trained import exported, onnx_graph

    content = onnx_graph.to_onnx(model, variables, info)
    model = model.clone(dtype=jax.numpy.float32)
    with jax.default_matmul_precision("highest"):
        found = exported.difference(partial(onnx_graph.run, content), model, variables, info)
    if found["difference"] > _CLOSE * found["largest"]:
        raise RunError(
            f"the ONNX graph differs from the network by {found['difference']:.1e} in logits of up "
            f"to {found['largest']:.1f}; nothing was written"
        )
    with files.refused_writes(path):
        files.write(files.path(path), content)
    size = f"{len(content) / 1e6:.2f} MB"
    return f"{path}: {size}, ONNX, {_shapes(model, info)}\n{_describe(found)}"


def _shapes(model, info):
    return f"uint8 [N, {', '.join(map(str, info.image_shape))}] to float32 [N, {model.num_classes}]"


def _describe(found):
    return (
        f"largest difference from the live network: {found['difference']:.1e} in logits of up to "
        f"{found['largest']:.1f}; the same class for {100 * found['agreement']:.1f} % of 64 random "
        "images"
    )


def write_weights(model, variables, info, folder: str) -> str:
    """Writes the weights; returns a description of the files."""
    from rir_jax.trained import weights

    weights.save_pretrained(folder, model, variables, info)
    sizes = [
        f"{name} ({len(files.read(files.path(folder) / name)) / 1e6:.2f} MB)"
        for name in (weights.WEIGHTS, weights.CONFIG)
    ]
    return f"{folder}: {' and '.join(sizes)}"


if __name__ == "__main__":
    cli.start(main, FLAGS)
