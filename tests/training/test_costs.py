"""What a training step costs, by counts that are the same on every machine."""

import jax
import jax.numpy as jnp
import pytest

import rir_jax
from rir_jax.devices.mesh import create_mesh, replicated
from rir_jax.training.setup import build_engine
from tests.compiling import FAST_COMPILE
from tests.training.tiny import tiny_config

BATCH = 4


def _lowered(name):
    """The body of the training loop for CIFAR-10's shapes, bfloat16, as for a TPU."""
    config = rir_jax.default_config()
    config.model.name, config.compute_dtype = name, "bfloat16"
    config.train.batch_size = BATCH
    mesh = create_mesh(BATCH, 1)
    engine, _ = build_engine(config, 10, 100, (32, 32, 3), mesh)
    arrays = {
        "images": jax.ShapeDtypeStruct((100, 32 * 32 * 3), jnp.uint8),
        "labels": jax.ShapeDtypeStruct((100,), jnp.int32),
        "mean": jax.ShapeDtypeStruct((3,), jnp.float32),
        "std": jax.ShapeDtypeStruct((3,), jnp.float32),
    }
    order, seed = jax.ShapeDtypeStruct((100,), jnp.int32), jax.ShapeDtypeStruct((), jnp.uint32)
    traced = jax.jit(engine.step).trace(engine.abstract_state(), arrays, order, seed)
    return traced.lower(lowering_platforms=("tpu",)).as_text()


@pytest.mark.parametrize(("name", "layers"), [("rir18_wide", 18), ("rir32", 31)])
def test_a_step_has_one_convolution_a_layer_and_two_for_its_gradients(name, layers):
    """The stem needs no gradient for its input. Four convolutions a layer would be four times."""
    text = _lowered(name)
    assert text.count("stablehlo.convolution(") == layers + 2 * layers - 1
    assert "custom_call @xla_python" not in text, "nothing calls back to the host"


@pytest.mark.parametrize(("name", "gigaflops"), [("rir18_wide", 7.1), ("rir32", 0.39)])
def test_flops_of_an_image(name, gigaflops):
    """Of a training step, as XLA counts them: multiply and add are two."""
    import optax

    from rir_jax.training.step import abstract_train_state, train_step

    model, optimizer = rir_jax.create_model(name), optax.sgd(0.1, momentum=0.9)
    state = abstract_train_state(model, optimizer, (32, 32, 3), None)
    images = jax.ShapeDtypeStruct((BATCH, 32, 32, 3), jnp.float32)
    labels = jax.ShapeDtypeStruct((BATCH,), jnp.int32)
    step = jax.jit(lambda *arguments: train_step(model, optimizer, *arguments))
    lowered = step.trace(state, images, labels).lower(lowering_platforms=("tpu",))
    flops = lowered.cost_analysis()["flops"] / BATCH
    of_optimizer = 6 * sum(leaf.size for leaf in jax.tree.leaves(state.params)) / BATCH
    assert 0.95 * gigaflops < (flops - of_optimizer) / 1e9 < gigaflops


def test_a_step_on_eight_devices_has_one_all_reduce_a_batch_norm_and_direction():
    """And on CPU one a kernel, inside of its gradient. On chips those are one sum: test_pins.py."""
    config = tiny_config(mesh__data=8)
    mesh = create_mesh(config.train.batch_size, 8)
    engine, _ = build_engine(config, 10, 256, (8, 8, 1), mesh)
    whole = replicated(mesh)

    def abstract(shape, dtype):
        return jax.ShapeDtypeStruct(shape, dtype, sharding=whole)

    arrays = {
        "images": abstract((256, 64), jnp.uint8),
        "labels": abstract((256,), jnp.int32),
        "mean": abstract((1,), jnp.float32),
        "std": abstract((1,), jnp.float32),
    }
    state, order, seed = (
        engine.abstract_state(),
        abstract((256,), jnp.int32),
        abstract((), "uint32"),
    )
    step = jax.jit(engine.step, out_shardings=whole).lower(state, arrays, order, seed)
    found = step.compile(FAST_COMPILE).as_text().count(" all-reduce(")
    assert found == 2 * 5 + 5, "a stem, two blocks of two layers"
