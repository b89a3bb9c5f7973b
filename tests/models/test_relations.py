"""Fig. 1 and 2: what a generalized layer is with some filters zero, and where that ends."""

from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import rir_jax
from rir_jax import GeneralizedConv, GeneralizedDense, relations
from rir_jax.models.network import Network
from tests.compiling import FAST_COMPILE
from tests.models import dual_stream
from tests.proofs import distance, random_variables

pytestmark = pytest.mark.usefixtures("float64")

DOUBLE = {"dtype": jnp.float64, "param_dtype": jnp.float64}
LAYERS = [partial(GeneralizedConv, strides=2, **DOUBLE), partial(GeneralizedDense, **DOUBLE)]
EXACT = 1e-12


class Sigma(nn.Module):
    """A generalized layer and its sigma: batch normalization and ReLU."""

    layer: nn.Module

    @nn.compact
    def __call__(self, x, train=False):
        norm = nn.BatchNorm(
            use_running_average=not train,
            momentum=dual_stream.MOMENTUM,
            epsilon=dual_stream.EPSILON,
            force_float32_reductions=False,
            **DOUBLE,
        )
        return nn.relu(norm(self.layer(x)))


def random_input(layer, width, seed=0):
    """Positive and negative, as no ReLU would give it."""
    shape = (4, 5, 4, width) if layer is LAYERS[0] else (4, width)
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape))


def random_kernel(layer, width_in, width, seed=0):
    spatial = (3, 3) if layer is LAYERS[0] else ()
    return jnp.asarray(np.random.default_rng(seed).normal(size=(*spatial, width_in, width)))


def with_kernel(module, x, kernel):
    """Random variables, but for the kernel of the layer (and its bias, which is zero)."""
    variables = random_variables(module, x)
    layer = variables["params"]["layer"]
    layer["kernel"] = kernel
    if "bias" in layer:
        layer["bias"] = jnp.zeros_like(layer["bias"])
    return variables


def norm_of(variables, half):
    norm = {**variables["params"]["BatchNorm_0"], **variables["batch_stats"]["BatchNorm_0"]}
    return {name: value[half] for name, value in norm.items()}


@pytest.mark.parametrize("train", [False, True])
@pytest.mark.parametrize("layer", LAYERS, ids=["conv", "dense"])
def test_with_the_residual_stream_zeroed_it_is_a_cnn_layer(layer, train):
    kernel, x = random_kernel(layer, 2, 3), random_input(layer, 4)
    module = Sigma(layer(6))
    variables = with_kernel(module, x, relations.cnn_layer(kernel))
    y, updates = module.apply(variables, x, train, mutable=["batch_stats"])
    stride = 2 if x.ndim == 4 else 1
    plain = dual_stream.affine(x[..., 2:], {"W": kernel}, stride)
    transient = slice(3, None)
    expected, running = dual_stream.batch_norm(plain, norm_of(variables, transient), train)
    assert distance(y[..., transient], dual_stream.relu(expected)) < EXACT
    stats = norm_of({**variables, **updates}, transient)
    assert distance({name: stats[name] for name in running}, running) < EXACT


@pytest.mark.parametrize("train", [False, True])
@pytest.mark.parametrize("layer", LAYERS, ids=["conv", "dense"])
def test_with_the_transient_stream_zeroed_it_is_a_one_layer_resnet_block(layer, train):
    kernel, x = random_kernel(layer, 2, 3), random_input(layer, 4)
    module = Sigma(layer(6))
    variables = with_kernel(module, x, relations.resnet_layer(kernel))
    y, _ = module.apply(variables, x, train, mutable=["batch_stats"])
    r, stride = x[..., :2], 2 if x.ndim == 4 else 1
    summed = dual_stream.affine(r, {"W": kernel}, stride) + dual_stream.zero_pad(r, stride, 3)
    residual = slice(0, 3)
    expected, _ = dual_stream.batch_norm(summed, norm_of(variables, residual), train)
    assert distance(y[..., residual], dual_stream.relu(expected)) < EXACT


@pytest.mark.parametrize("depth", [1, 2, 3])
@pytest.mark.parametrize("layer", LAYERS, ids=["conv", "dense"])
def test_layers_without_batch_norm_are_a_resnet_block_of_any_depth(layer, depth):
    """Fig. 1c, with batch norm the identity; and ReLU is one where x is positive, only there."""
    widths = [2, *[3] * depth]
    kernels = [random_kernel(layer, *widths[n : n + 2], seed=n) for n in range(depth)]

    def generalized(x):
        x = jnp.concatenate([x, random_input(layer, 2, seed=9)], -1)  # t: anything
        for number, kernel in enumerate(relations.resnet_block(*kernels)):
            module = layer(2 * kernels[number].shape[-1])
            if number > 0 and x.ndim == 4:
                module = module.clone(strides=1)
            params = {"kernel": kernel}
            if x.ndim == 2:
                params["bias"] = jnp.zeros(kernel.shape[-1])
            x = nn.relu(module.apply({"params": params}, x))
        return x[..., :3]

    def resnet(x):
        y = x
        for number, kernel in enumerate(kernels):
            stride = 2 if number == 0 and x.ndim == 4 else 1
            y = dual_stream.affine(y, {"W": kernel}, stride)
            if number < depth - 1:
                y = dual_stream.relu(y)
        return dual_stream.relu(y + dual_stream.zero_pad(x, 2 if x.ndim == 4 else 1, 3))

    x = random_input(layer, 2)
    assert distance(generalized(jnp.abs(x)), resnet(jnp.abs(x))) < EXACT
    if depth > 1:
        assert distance(generalized(x), resnet(x)) > 0.01
    else:
        assert distance(generalized(x), resnet(x)) < EXACT


def small(**fields):
    fields = {"stem_width": 2, "widths": (3, 4), "blocks": (1, 1), "head": "conv", **fields}
    return Network(num_classes=3, two_streams=False, **fields, **DOUBLE)


def both_modes(model, variables, images):
    """Logits in inference; logits and new running statistics in training."""

    def run(variables):
        inference = model.apply(variables, images)
        return inference, model.apply(variables, images, train=True, mutable=["batch_stats"])

    return jax.jit(run, compiler_options=FAST_COMPILE)(variables)


def check_network(relation, model, stream_of_norm, train=True):
    """A network and what a relation makes of it agree; ``train``: there, too, or not at all.

    ``stream_of_norm(name)`` is the stream whose running statistics are the network's.
    """
    images = np.random.default_rng(1).normal(size=(3, 6, 6, 3))
    variables = random_variables(model, images)
    wider, wider_variables = relation(model, variables)
    assert wider.two_streams
    assert wider.widths == tuple(2 * width for width in model.widths)
    logits, (train_logits, updates) = both_modes(model, variables, images)
    wide_logits, (wide_train_logits, wide_updates) = both_modes(wider, wider_variables, images)
    assert distance(wide_logits, logits) < EXACT
    if not train:
        assert distance(wide_train_logits, train_logits) > 0.01
        return wider
    assert distance(wide_train_logits, train_logits) < EXACT

    def of_stream(path, wide, narrow):
        if path[1].key == "head_norm":
            return wide
        norm = path[-2].key
        return jnp.split(wide, 2)[0 if stream_of_norm(norm) == "r" else 1]

    used = jax.tree_util.tree_map_with_path(of_stream, wide_updates, updates)
    assert distance(used, updates) < EXACT
    return wider


@pytest.mark.parametrize("fields", [{}, {"head": "dense", "use_bias": True, "layers_per_block": 3}])
def test_a_cnn_is_a_resnet_init_on_its_transient_stream(fields):
    cnn = small(outer_shortcut="none", **fields)
    wider = check_network(relations.cnn_as_resnet_init, cnn, lambda norm: "t")
    assert wider.outer_shortcut == "none"


@pytest.mark.parametrize(
    "fields",
    [
        {"outer_shortcut": "pre_relu"},
        {"outer_shortcut": "pre_relu", "layers_per_block": 1, "head": "dense"},
        {"outer_shortcut": "pre_relu", "shortcut": "projection", "stride_layer": "last"},
        {"outer_shortcut": "pre_norm", "layers_per_block": 3, "use_bias": True},
        {"outer_shortcut": "post_relu", "shortcut": "projection", "layers_per_block": 1},
    ],
)
def test_a_resnet_is_a_rir(fields):
    resnet = small(**fields)
    last = f"norm{resnet.layers_per_block}"
    wider = check_network(
        relations.resnet_as_rir, resnet, lambda norm: "r" if norm in ("stem_norm", last) else "t"
    )
    assert wider.outer_shortcut == resnet.outer_shortcut


@pytest.mark.parametrize("layers", [1, 2, 3])
@pytest.mark.parametrize("outer", ["pre_relu", "pre_norm"])
def test_a_resnet_is_a_resnet_init_in_inference(outer, layers):
    resnet = small(
        outer_shortcut=outer, layers_per_block=layers, use_bias=layers == 3, stride_layer="last"
    )
    # One layer whose batch norm is on the sum, as a generalized layer's: in training as well.
    same = outer == "pre_norm" and layers == 1
    wider = check_network(relations.resnet_as_resnet_init, resnet, lambda norm: "r", train=same)
    assert wider.outer_shortcut == "none"


@pytest.mark.parametrize(
    ("relation", "model", "message"),
    [
        (relations.cnn_as_resnet_init, small(), "outer_shortcut is 'pre_relu'; allowed: 'none'"),
        (relations.resnet_as_rir, small(outer_shortcut="none"), "outer_shortcut is 'none'"),
        (relations.resnet_as_rir, rir_jax.create_model("rir32"), "two_streams is True"),
        (
            relations.resnet_as_resnet_init,
            small(outer_shortcut="post_relu"),
            "outer_shortcut is 'post_relu'; allowed: 'pre_relu', 'pre_norm'",
        ),
        (
            relations.resnet_as_resnet_init,
            small(shortcut="projection"),
            "shortcut is 'projection'; allowed: 'zero_pad'",
        ),
    ],
)
def test_networks_of_another_family_are_refused(relation, model, message):
    with pytest.raises(ValueError, match=message):
        relation(model, {})


def test_variables_of_another_network_are_refused():
    model = small()
    variables = random_variables(model, np.zeros((1, 6, 6, 3)))
    del variables["params"]["stage2_block1"]["conv2"]
    with pytest.raises(ValueError, match="'params/stage2_block1/conv2/kernel' is missing"):
        relations.resnet_as_rir(model, variables)
