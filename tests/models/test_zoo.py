"""The named networks: parameter counts, shapes, types, and what is refused."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import rir_jax
from rir_jax.models.network import Network

# Counted by hand from the paper's description: all four families of a size cost the same.
PARAMETERS = {
    ("cnn32", 10): 464_154,
    ("resnet32", 10): 464_154,
    ("resnet_init32", 10): 464_154,
    ("rir32", 10): 464_154,
    ("rir32", 100): 470_004,
    ("cnn18_wide", 10): 9_469_940,
    ("resnet18_wide", 10): 9_469_940,
    ("resnet_init18_wide", 10): 9_469_940,
    ("rir18_wide", 10): 9_469_940,
    ("rir18_wide", 100): 9_504_680,
}
IMAGES = jax.ShapeDtypeStruct((2, 32, 32, 3), jnp.float32)


def _shapes(model):
    return jax.eval_shape(model.init, jax.random.key(0), IMAGES)


def test_every_model_is_in_the_table():
    assert {name for name, _ in PARAMETERS} == set(rir_jax.list_models())


@pytest.mark.parametrize(("name", "num_classes"), PARAMETERS)
def test_parameter_counts(name, num_classes):
    params = _shapes(rir_jax.create_model(name, num_classes))["params"]
    assert sum(leaf.size for leaf in jax.tree.leaves(params)) == PARAMETERS[name, num_classes]


def test_projection_shortcuts_cost_what_they_must():
    """One 1x1 convolution where streams widen, in the layer and around the block."""
    padded = _shapes(rir_jax.create_model("rir18_wide"))["params"]
    projected = _shapes(rir_jax.create_model("rir18_wide", shortcut="projection"))["params"]
    sizes = [sum(x.size for x in jax.tree.leaves(tree)) for tree in (padded, projected)]
    assert sizes[1] - sizes[0] == 2 * (48 * 96 + 96 * 192)


@pytest.mark.parametrize("name", rir_jax.list_models())
def test_bfloat16_computes_but_does_not_store(name):
    model = rir_jax.create_model(name, dtype=jnp.bfloat16)
    variables = _shapes(model)
    assert {leaf.dtype for leaf in jax.tree.leaves(variables)} == {jnp.dtype("float32")}
    logits, updates = jax.eval_shape(
        lambda v, x: model.apply(v, x, train=True, mutable=["batch_stats"]), variables, IMAGES
    )
    assert (logits.shape, logits.dtype) == ((2, 10), jnp.float32)
    assert {leaf.dtype for leaf in jax.tree.leaves(updates)} == {jnp.dtype("float32")}
    traced = jax.jit(model.apply).trace(variables, IMAGES)
    text = traced.lower(lowering_platforms=("tpu",)).as_text()
    convolutions = [line for line in text.splitlines() if "stablehlo.convolution" in line]
    assert len(convolutions) == (17 if "18" in name else 31) + (model.head == "conv")
    assert all("bf16>" in line.rsplit("->", 1)[1] for line in convolutions)


def _tiny(**fields):
    return rir_jax.create_model(
        "rir32", num_classes=3, stem_width=4, widths=(4, 8), blocks=(1, 1), **fields
    )


def test_inference_is_pure_and_training_moves_the_statistics():
    model, images = _tiny(), jax.random.normal(jax.random.key(1), (4, 8, 8, 1))
    variables = jax.jit(model.init)(jax.random.key(0), images)
    assert jax.eval_shape(model.apply, variables, images).shape == (4, 3)
    train = jax.jit(partial(model.apply, train=True, mutable=["batch_stats"]))
    _, updates = train(variables, images)
    old = variables["batch_stats"]["stem_norm"]
    new = updates["batch_stats"]["stem_norm"]
    stem = jax.lax.conv_general_dilated(
        images,
        variables["params"]["stem_conv"]["kernel"],
        (1, 1),
        ((1, 1), (1, 1)),
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
    )
    # Momentum 0.9 and the biased variance, as the recipe says.
    np.testing.assert_allclose(
        new["mean"], 0.9 * old["mean"] + 0.1 * stem.mean((0, 1, 2)), rtol=1e-4, atol=1e-6
    )
    np.testing.assert_allclose(
        new["var"], 0.9 * old["var"] + 0.1 * stem.var((0, 1, 2)), rtol=1e-4, atol=1e-6
    )


def test_outer_shortcut_runs_along_the_residual_stream_before_the_last_relu():
    """With a block's kernels such that its layers give zeros, only the shortcut is left."""
    model, images = _tiny(), jax.random.normal(jax.random.key(1), (4, 8, 8, 1))
    variables = jax.jit(model.init)(jax.random.key(0), images)
    block = variables["params"]["stage1_block1"]
    block["norm2"]["scale"] = jnp.zeros(4)  # the last batch norm gives 0
    _, captured = jax.jit(partial(model.apply, capture_intermediates=True))(variables, images)
    outputs = captured["intermediates"]
    stem = jax.nn.relu(outputs["stem_norm"]["__call__"][0])
    expected = stem.at[..., 2:].set(0)  # the transient half has no shortcut
    np.testing.assert_allclose(outputs["stage1_block1"]["__call__"][0], expected, rtol=1e-6)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"stem_width": 15}, r"stem_width is 15: 15 channels cannot be split"),
        ({"widths": (16, 33, 64)}, r"widths is \(16, 33, 64\): 33 channels cannot be split"),
        ({"widths": (64, 32, 16)}, r"widths is \(64, 32, 16\); allowed: none less"),
        ({"widths": ()}, r"widths is \(\); allowed: a sequence"),
        ({"blocks": (1, 2)}, r"blocks is \(1, 2\); allowed: one number for each of the 3 widths"),
        ({"layers_per_block": 0}, r"layers_per_block is 0; allowed"),
        ({"shortcut": "conv"}, r"shortcut is 'conv'; allowed: one of 'zero_pad', 'projection'"),
        ({"outer_shortcut": None}, r"outer_shortcut is None; allowed: one of 'pre_relu'"),
        ({"stride_layer": "second"}, r"stride_layer is 'second'; allowed"),
        ({"head": "pool"}, r"head is 'pool'; allowed"),
        ({"norm_momentum": 1.0}, r"norm_momentum is 1.0; allowed"),
        ({"norm_epsilon": 0.0}, r"norm_epsilon is 0.0; allowed"),
        ({"two_streams": "yes"}, r"two_streams is 'yes'; allowed: True or False"),
    ],
)
def test_fields_out_of_range_are_refused_at_construction(fields, message):
    with pytest.raises(ValueError, match=message):
        rir_jax.create_model("rir32", **fields)


def test_unknown_names_are_refused_with_the_nearest():
    with pytest.raises(ValueError, match="did you mean 'rir32'"):
        rir_jax.create_model("rir33")
    with pytest.raises(TypeError, match="'layer_per_block' is unknown; did you mean 'layers_per_"):
        rir_jax.create_model("rir32", layer_per_block=3)


@pytest.mark.parametrize(
    ("images", "error", "message"),
    [
        (np.zeros((8, 8, 1), np.float32), ValueError, r"shape \(8, 8, 1\); allowed: \[N, H, W, C"),
        (np.zeros((1, 8, 8, 1), np.uint8), TypeError, "uint8; allowed: a floating type"),
        (np.zeros((1, 8, 8, 3), np.float32), ValueError, "3 channels; the network was made for 1"),
    ],
)
def test_wrong_images_are_refused(images, error, message):
    model = _tiny()
    variables = jax.eval_shape(model.init, jax.random.key(0), jnp.zeros((1, 8, 8, 1)))
    with pytest.raises(error, match=message):
        jax.eval_shape(model.apply, variables, images)


def test_public_network_is_the_class_that_create_model_makes():
    assert isinstance(rir_jax.create_model("cnn32"), Network)
