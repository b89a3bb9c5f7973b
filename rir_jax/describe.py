"""Describes a network: python -m rir_jax.describe --model=rir18_wide [--svg=FILE]

Prints its layers with shapes, parameters and multiplications. --svg draws it, with its streams,
their crossings and both shortcuts. The network may also come from a config, --config=FILE
[--config.model.FIELD=VALUE], or from a run, --workdir=DIR.
"""

import math
from typing import Any

from absl import flags

from rir_jax import cli, files
from rir_jax import config as configs
from rir_jax.analysis.drawing import draw_network
from rir_jax.analysis.layers import layers_of, table
from rir_jax.errors import InputError
from rir_jax.models.zoo import create_model
from rir_jax.trained.load import load

FLAGS = flags.FlagValues()
_MODEL = flags.DEFINE_string("model", None, "Name of a network.", FLAGS)
_WORKDIR = flags.DEFINE_string("workdir", None, "Folder of a run.", FLAGS)
_CONFIG = cli.define_config(FLAGS)
_CLASSES = flags.DEFINE_integer("num_classes", 10, "Number of classes.", 1, flag_values=FLAGS)
_SHAPE = flags.DEFINE_string("image_shape", "32,32,3", "Height, width and channels.", FLAGS)
_SVG = flags.DEFINE_string("svg", None, "SVG file for the picture.", FLAGS)


def main(arguments: list[str]) -> None:
    cli.no_arguments(arguments)
    cli.one_of(_MODEL, _CONFIG, _WORKDIR)
    if _WORKDIR.value:
        model, _, info = load(_WORKDIR.value)
        config: Any = info.config  # a run has one
        name, shape = config.model.name, info.image_shape
    else:
        name, model, shape = _chosen()
    print(table(layers_of(model, shape)))
    if _SVG.value:
        picture = draw_network(model, shape, name).encode()
        with files.refused_writes(f"--svg={_SVG.value}"):
            files.write(files.path(_SVG.value), picture)


def _chosen():
    """The name, the network and the image shape that the flags describe."""
    name, fields, shape = _MODEL.value, {}, _image_shape(_SHAPE.value)
    if _CONFIG.value:
        config = _CONFIG.load()
        configs.validate(config)
        name, fields = config.model.name, configs.model_fields(config)
    try:
        return name, create_model(name, _CLASSES.value, **fields), shape
    except ValueError as error:
        raise InputError(str(error)) from None


def _image_shape(text):
    try:
        shape = tuple(int(size) for size in text.split(","))
    except ValueError:
        shape = ()
    if len(shape) != 3 or min(shape) < 1 or math.prod(shape) > 2**31:
        raise InputError(f"--image_shape is {text!r}; allowed: height,width,channels, as 32,32,3")
    return shape


if __name__ == "__main__":
    cli.start(main, FLAGS)
