"""The other implementations' networks, as they are described, from overrides."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import rir_jax
from rir_jax import interop
from rir_jax.config import validate
from rir_jax.training.setup import build_model
from tests.compiling import FAST_COMPILE
from tests.models import dual_stream
from tests.proofs import distance, random_variables

pytestmark = pytest.mark.usefixtures("float64")

SMALL = {"stem_width": 2, "widths": (4, 6), "blocks": (1, 1)}
DOUBLE = {"dtype": jnp.float64, "param_dtype": jnp.float64}
# What is said of each: where its outer shortcut is, which layer is strided, a ReLU in the head.
DESCRIBED = {
    "pytorchcv": (interop.PYTORCHCV, {"outer": "none", "stride_layer": "first"}),
    "nutszebra": (
        interop.NUTSZEBRA,
        {"outer": "post_relu", "stride_layer": "last", "head_relu": True},
    ),
    "weiaicunzai": (interop.WEIAICUNZAI, {"outer": "none", "stride_layer": "first"}),
}


@pytest.mark.parametrize("train", [False, True])
@pytest.mark.parametrize("name", DESCRIBED)
def test_overrides_build_what_is_described(name, train):
    overrides, described = DESCRIBED[name]
    model = rir_jax.create_model("rir18_wide", 3, **SMALL, **overrides, **DOUBLE)
    images = np.random.default_rng(0).normal(size=(2, 6, 6, 3))
    variables = random_variables(model, images)
    layer = variables["params"]["stage2_block1"]["conv1"]
    # Its shortcuts where shapes change, and four biased convolutions a layer.
    assert ("projection" in layer) == (name != "nutszebra")
    assert ("bias" in layer) == (name == "nutszebra")

    def both(variables):
        net = dual_stream.network_of(variables, model.blocks, model.layers_per_block)
        theirs, _ = dual_stream.network(images, net, train=train, **described)
        ours, _ = model.apply(variables, images, train=train, mutable=["batch_stats"])
        return ours, theirs

    ours, theirs = jax.jit(both, compiler_options=FAST_COMPILE)(variables)
    assert distance(ours, theirs) < 1e-10


@pytest.mark.parametrize("name", DESCRIBED)
def test_overrides_are_fields_of_a_config(name):
    overrides, _ = DESCRIBED[name]
    config = rir_jax.default_config()
    config.model.update(overrides)
    validate(config)
    model = build_model(config, num_classes=10)
    assert {field: getattr(model, field) for field in overrides} == overrides


@pytest.mark.parametrize(("classes", "parameters"), [(10, 9_492_980), (100, 9_527_720)])
def test_pytorchcvs_parameters_are_as_many_as_it_says(classes, parameters):
    model = rir_jax.create_model("rir18_wide", classes, **interop.PYTORCHCV)
    shapes = jax.eval_shape(model.init, jax.random.key(0), jnp.zeros((1, 8, 8, 3)))
    assert sum(leaf.size for leaf in jax.tree.leaves(shapes["params"])) == parameters
