"""Eq. 1 and 2: our one convolution against the four convolutions that the paper writes."""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rir_jax.models.blocks import ResidualBlock
from rir_jax.models.layers import Conv, GeneralizedConv, GeneralizedDense
from rir_jax.models.network import Network
from rir_jax.models.norm import BatchNorm
from tests.compiling import FAST_COMPILE
from tests.models import dual_stream
from tests.proofs import distance, random_variables, randomized

pytestmark = pytest.mark.usefixtures("float64")

DOUBLE = {"dtype": jnp.float64, "param_dtype": jnp.float64}
# Width of a stream coming in and going out; a few values, so that compiled programs are shared.
WIDTHS = {"zero_pad": [(1, 1), (2, 2), (1, 3)], "projection": [(2, 2), (1, 3), (3, 2)]}


def one_layer_block(width, stride, shortcut, train):
    """A generalized layer with its sigma, as networks have them."""
    return ResidualBlock(
        2 * width,
        layers=1,
        conv=functools.partial(GeneralizedConv, shortcut=shortcut, **DOUBLE),
        projection=functools.partial(Conv, kernel_size=1, **DOUBLE),
        norm=functools.partial(
            BatchNorm,
            use_running_average=not train,
            momentum=0.9,
            epsilon=1e-5,
            statistics_dtype=jnp.float64,
            **DOUBLE,
        ),
        stride=stride,
        two_streams=True,
        outer_shortcut="none",
    )


@functools.cache
def both_forms(shape, width, stride, shortcut, train):
    """Shapes of the variables; and x, variables, weights to what both forms make of them.

    Outputs, running statistics, and the gradients of a random linear function of the outputs
    for the inputs, every W, the projection and the batch norm.
    """
    module = one_layer_block(width, stride, shortcut, train)
    shapes = jax.eval_shape(module.init, jax.random.key(0), jnp.zeros(shape))

    def ours(x, variables, weights):
        def loss(x, params):
            y, updates = module.apply(
                {"params": params, "batch_stats": variables["batch_stats"]},
                x,
                mutable=["batch_stats"],
            )
            return jnp.sum(y * weights), (y, updates.get("batch_stats", variables["batch_stats"]))

        gradients, (y, stats) = jax.grad(loss, (0, 1), has_aux=True)(x, variables["params"])
        of_x, params = gradients
        parts = {
            **dual_stream.filters_of(params["conv1"]["kernel"]),
            **dual_stream.norms_of(params["norm1"], {}),
        }
        if "projection" in params["conv1"]:
            parts["projection"] = params["conv1"]["projection"]
        return y, stats["norm1"], of_x, parts

    def reference(x, variables, weights):
        params, stats = variables["params"], variables["batch_stats"]
        layer = dual_stream.layer_of(params["conv1"], params["norm1"], stats["norm1"])

        def loss(x, layer):
            r, t = jnp.split(x, 2, axis=-1)
            r, t, stats = dual_stream.generalized_layer(r, t, layer, stride, train)
            y = jnp.concatenate([r, t], axis=-1)
            return jnp.sum(y * weights), (y, dual_stream.joined_norm(stats))

        gradients, (y, stats) = jax.grad(loss, (0, 1), has_aux=True)(x, layer)
        of_x, parts = gradients
        for norm in ("norm_r", "norm_t"):  # our statistics are no parameters
            parts[norm] = {name: parts[norm][name] for name in ("bias", "scale")}
        return y, stats, of_x, parts

    both = jax.jit(lambda *a: (ours(*a), reference(*a)), compiler_options=FAST_COMPILE)
    return shapes, both


@pytest.mark.parametrize("train", [False, True])
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("shortcut", ["zero_pad", "projection"])
@given(data=st.data(), seed=st.integers(0, 2**16))
@settings(max_examples=3, deadline=None)
def test_one_convolution_is_the_four_of_the_paper(shortcut, stride, train, data, seed):
    width_in, width = data.draw(st.sampled_from(WIDTHS[shortcut]))
    height, breadth = data.draw(st.sampled_from([(4, 4), (5, 5), (5, 4)]))
    shape = (2, height, breadth, 2 * width_in)
    shapes, forms = both_forms(shape, width, stride, shortcut, train)
    changes = stride != 1 or width_in != width
    assert ("projection" in shapes["params"]["conv1"]) == (shortcut == "projection" and changes)
    variables = randomized(shapes, seed)
    rng = np.random.default_rng(seed)
    weights = rng.normal(size=(2, -(-height // stride), -(-breadth // stride), 2 * width))
    ours, reference = forms(rng.normal(size=shape), variables, weights)
    assert distance(ours, reference) < 1e-10


@pytest.mark.parametrize("size", [4, 5])
def test_same_padding_breaks_the_shortcut_at_stride_2_on_even_sizes(size):
    x = jnp.asarray(np.random.default_rng(0).normal(size=(1, size, size, 4)))
    layer = GeneralizedConv(4, strides=2, kernel_init=nn.initializers.zeros, **DOUBLE)
    variables = layer.init(jax.random.key(0), x)
    same = nn.Conv(4, (3, 3), strides=2, padding="SAME", use_bias=False, **DOUBLE)
    applied = layer.applied_kernel(variables["params"]["kernel"])
    subsampled = dual_stream.zero_pad(x[..., :2], 2, 4)
    assert distance(layer.apply(variables, x), subsampled) == 0
    same_output = same.apply({"params": {"kernel": applied}}, x)
    if size % 2:  # there "SAME" pads (1, 1) as well
        assert distance(same_output, subsampled) == 0
    else:
        assert distance(same_output, subsampled) > 0.1
        assert distance(same_output, dual_stream.zero_pad(x[:, 1:, 1:, :2], 2, 4)) == 0


@pytest.mark.parametrize("shortcut", ["zero_pad", "projection"])
@given(data=st.data(), seed=st.integers(0, 2**16))
@settings(max_examples=3, deadline=None)
def test_one_matrix_is_the_four_of_the_paper(shortcut, data, seed):
    width_in, width = data.draw(st.sampled_from(WIDTHS[shortcut]))
    layer = GeneralizedDense(2 * width, shortcut=shortcut, **DOUBLE)
    rng = np.random.default_rng(seed)
    x, weights = rng.normal(size=(3, 2 * width_in)), rng.normal(size=(3, 2 * width))
    params = random_variables(layer, x, seed)["params"]
    assert ("projection" in params) == (shortcut == "projection" and width_in != width)

    def ours(x, params):
        return layer.apply({"params": params}, x)

    def reference(x, params):
        filters = dual_stream.filters_of(params["kernel"], params["bias"])
        if "projection" in params:
            filters["projection"] = params["projection"]
        r, t = jnp.split(x, 2, axis=-1)
        return jnp.concatenate(dual_stream.before_sigma(r, t, filters), axis=-1)

    def with_gradients(form):
        def loss(x, params):
            y = form(x, params)
            return jnp.sum(y * weights), y

        return jax.grad(loss, (0, 1), has_aux=True)(x, params)

    compile_both = functools.partial(jax.jit, compiler_options=FAST_COMPILE)
    assert (
        distance(*compile_both(lambda: (with_gradients(ours), with_gradients(reference)))()) < 1e-10
    )


# A network's fields, and how many layers its blocks have: shortcuts of both kinds, each place
# of the outer one, and either layer strided.
NETWORKS = [
    {"outer_shortcut": "pre_relu"},
    {"outer_shortcut": "pre_norm", "shortcut": "projection", "layers_per_block": 3},
    {"outer_shortcut": "post_relu", "stride_layer": "last", "use_bias": True, "head_relu": True},
    {"outer_shortcut": "none", "layers_per_block": 1},
]


@pytest.mark.parametrize("train", [False, True])
@pytest.mark.parametrize("fields", NETWORKS, ids=lambda fields: fields["outer_shortcut"])
def test_a_network_is_its_dual_stream_form(fields, train):
    model = Network(
        num_classes=3, stem_width=2, widths=(4, 6), blocks=(1, 2), head="conv", **fields, **DOUBLE
    )
    images = np.random.default_rng(0).normal(size=(2, 6, 6, 3))
    variables = random_variables(model, images)

    def ours(variables):
        return model.apply(variables, images, train=train, mutable=["batch_stats"])

    def reference(variables):
        net = dual_stream.network_of(variables, model.blocks, model.layers_per_block)
        places = {
            "outer": model.outer_shortcut,
            "stride_layer": model.stride_layer,
            "head_relu": model.head_relu,
        }
        logits, stats = dual_stream.network(images, net, train=train, **places)
        return logits, {"batch_stats": dual_stream.joined_stats(stats)}

    both = jax.jit(lambda v: (ours(v), reference(v)), compiler_options=FAST_COMPILE)
    assert distance(*both(variables)) < 1e-10
