"""Folding: the same logits from plain convolutions, one a layer, with less memory traffic."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import rir_jax
from rir_jax.models.network import Network
from tests.proofs import distance, random_variables


def _images(size=8):
    return jnp.asarray(np.random.default_rng(0).normal(size=(2, size, size, 3)), jnp.float32)


def _tiny(**fields):
    fields = {"stem_width": 4, "widths": (4, 8), "blocks": (1, 1), "head": "conv", **fields}
    return Network(num_classes=3, **fields)


def _compiled(model, variables, images):
    program = jax.jit(model.apply).lower(variables, images).compile()
    # XLA may call a 1x1 convolution a dot.
    convolutions = len(re.findall(r" (convolution|dot)\(.*conv_general_dilated", program.as_text()))
    return program(variables, images), convolutions, program.cost_analysis()["bytes accessed"]


def _check(model, layers, images):
    """Equal logits, so many convolutions, no batch norm, fewer bytes than the unfolded."""
    variables = random_variables(model, images)
    plain, folded = rir_jax.fold(model, variables)
    logits, _, unfolded_bytes = _compiled(model, variables, images)
    plain_logits, convolutions, plain_bytes = _compiled(plain, folded, images)
    assert distance(plain_logits, logits) < 1e-5
    assert convolutions == layers
    assert plain_bytes < unfolded_bytes
    assert set(folded) == {"params"}
    assert not any("norm" in jax.tree_util.keystr(path) for path, _ in _leaves(folded))


def _leaves(tree):
    return jax.tree_util.tree_flatten_with_path(tree)[0]


# Convolutions: the dense layer of the 32-layer networks is none.
@pytest.mark.slow
@pytest.mark.parametrize(("name", "convolutions"), [("rir18_wide", 18), ("rir32", 31)])
def test_a_full_network_folds(name, convolutions):
    _check(rir_jax.create_model(name), convolutions, _images())


@pytest.mark.parametrize("name", rir_jax.list_models())
def test_every_family_folds(name):
    model = rir_jax.create_model(name, stem_width=4, widths=(4, 8), blocks=(1, 1))
    _check(model, 6 if model.head == "conv" else 5, _images())


@pytest.mark.slow
@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize("shortcut", ["zero_pad", "projection"])
@pytest.mark.parametrize(
    ("outer", "two_streams"),
    [("pre_relu", True), ("pre_norm", True), ("post_relu", True), ("pre_norm", False)],
)
def test_every_outer_shortcut_folds(outer, shortcut, layers, two_streams):
    model = _tiny(
        outer_shortcut=outer,
        shortcut=shortcut,
        layers_per_block=layers,
        two_streams=two_streams,
        stride_layer="last" if two_streams else "first",
        use_bias=two_streams,
        head_relu=two_streams,
    )
    remains = shortcut == "projection" and (layers > 1 or outer == "post_relu")
    _check(model, 2 + 2 * layers + remains, _images())


def test_a_block_of_one_layer_adds_nothing():
    images = _images()
    for outer, additions in [("pre_relu", 0), ("pre_norm", 0), ("post_relu", 2)]:
        model = _tiny(outer_shortcut=outer, layers_per_block=1)
        plain, folded = rir_jax.fold(model, random_variables(model, images))
        biases = 4  # of the stem, two layers and the head
        program = jax.jit(plain.apply).lower(folded, images).as_text()
        assert program.count("stablehlo.add") - _pooling_additions(program) == biases + additions


def _pooling_additions(program):
    return program.count("applies stablehlo.add")


def test_folding_in_float64_is_exact_to_rounding():
    with jax.enable_x64(True):
        model = _tiny(outer_shortcut="pre_norm", dtype=jnp.float64, param_dtype=jnp.float64)
        images = jnp.asarray(_images(), jnp.float64)
        variables = random_variables(model, images)
        plain, folded = rir_jax.fold(model, variables)
        expected = jax.jit(model.apply)(variables, images)
        assert distance(jax.jit(plain.apply)(folded, images), expected) < 1e-13


def test_folding_is_traceable_and_maps_over_seeds():
    images, model = _images(), _tiny()
    seeds = [random_variables(model, images, seed) for seed in (0, 1)]
    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *seeds)

    @jax.jit
    @jax.vmap
    def logits_of(variables):
        plain, folded = rir_jax.fold(model, variables)
        return plain.apply(folded, images)

    expected = jnp.stack([jax.jit(model.apply)(variables, images) for variables in seeds])
    assert distance(logits_of(stacked), expected) < 1e-5


def test_bfloat16_networks_stay_bfloat16():
    images, model = _images(), _tiny(dtype=jnp.bfloat16)
    variables = random_variables(model, images)
    plain, folded = rir_jax.fold(model, variables)
    logits = jax.jit(plain.apply)(folded, images)
    assert logits.dtype == jnp.float32
    assert {leaf.dtype.name for leaf in jax.tree.leaves(folded)} == {"float32"}
    traced = jax.jit(plain.apply).trace(folded, images)
    program = traced.lower(lowering_platforms=("tpu",)).as_text()
    convolutions = [line for line in program.splitlines() if "stablehlo.convolution" in line]
    assert ["xbf16>" in line for line in convolutions] == [True] * 5 + [False]  # the head
    assert distance(logits, jax.jit(model.apply)(variables, images)) < 0.05


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda v: v.pop("batch_stats"), "variables have no 'batch_stats'"),
        (lambda v: v["params"].pop("head_conv"), "'params/head_conv/kernel' is missing"),
        (
            lambda v: v["params"].update(head_dense={"kernel": 0}),
            "'params/head_dense/kernel' is not",
        ),
        (
            lambda v: v["params"]["stem_norm"].update(scale=jnp.ones(3)),
            r"'params/stem_norm/scale' has shape \(3,\), allowed: \(4,\)",
        ),
    ],
)
def test_variables_of_another_network_are_refused(change, message):
    images, model = _images(), _tiny()
    variables = random_variables(model, images)
    change(variables)
    with pytest.raises(ValueError, match=message):
        rir_jax.fold(model, variables)


def test_a_plain_network_refuses_what_the_network_refuses():
    images, model = _images(), _tiny()
    plain, folded = rir_jax.fold(model, random_variables(model, images))
    with pytest.raises(ValueError, match="images have 1 channels"):
        plain.apply(folded, images[..., :1])
    with pytest.raises(TypeError, match="images are int32"):
        plain.apply(folded, images.astype(jnp.int32))
    with pytest.raises(ValueError, match="images have shape"):
        plain.apply(folded, images[0])


def test_a_folded_network_does_not_train():
    images, model = _images(), _tiny()
    plain, folded = rir_jax.fold(model, random_variables(model, images))
    with pytest.raises(ValueError, match="train is True; allowed: False"):
        plain.apply(folded, images, train=True)
