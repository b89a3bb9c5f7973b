"""The programs of a run on CIFAR-10 in bfloat16, lowered for chips that need not be there."""

import contextlib
from unittest import mock

PROGRAMS = ("step", "loop", "inference")
NUM_IMAGES, IMAGE_SHAPE, NUM_CLASSES = 50_000, (32, 32, 3), 10


def lower(model_name: str, chips, batch_per_chip: int, program: str, num_seeds: int = 1):
    """A program, lowered; ``.compile()`` it.

    Args:
      model_name: of the network.
      chips: devices that it is for.
      batch_per_chip: images of one seed that a chip gets of a batch.
      program: ``step``, the body of the training loop (the batch drawn, augmented, the step taken);
        ``loop``, the whole call; or folded ``inference``.
      num_seeds: trained at once, by a ``loop``.
    """
    import rir_jax
    from rir_jax.devices.mesh import create_mesh
    from rir_jax.training.setup import build_engine

    groups = create_mesh(1, 1, chips, num_seeds).shape["seed"]
    batch_size = batch_per_chip * (len(chips) // groups)
    mesh = create_mesh(batch_size, len(chips) // groups, chips, num_seeds)
    config = rir_jax.default_config()
    config.model.name, config.train.batch_size = model_name, batch_size
    config.compute_dtype = "bfloat16"
    engine, _ = build_engine(config, NUM_CLASSES, NUM_IMAGES, IMAGE_SHAPE, mesh, num_seeds)
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
        "images": abstract((NUM_IMAGES, 32 * 32 * 3), jnp.uint8),
        "labels": abstract((NUM_IMAGES,), jnp.int32),
        "mean": abstract((3,), jnp.float32),
        "std": abstract((3,), jnp.float32),
    }
    state, seed = engine.abstract_state(), abstract((), jnp.uint32)
    if program == "loop":
        stacked = jax.eval_shape(engine.stack, *[state] * engine.num_seeds)
        seeds = jax.ShapeDtypeStruct((engine.num_seeds,), jnp.uint32)
        return engine.train.trace(stacked, arrays, seeds, abstract((), jnp.int32)).lower()
    step = jax.jit(engine.step, donate_argnums=0, out_shardings=replicated(mesh))
    return step.trace(state, arrays, abstract((NUM_IMAGES,), jnp.int32), seed).lower()


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
    images = jax.ShapeDtypeStruct((batch_size, *IMAGE_SHAPE), jnp.float32, sharding=by_image)
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
