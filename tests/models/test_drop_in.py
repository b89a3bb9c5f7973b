"""Generalized layers in the place of ``nn.Conv`` and ``nn.Dense``, in other people's networks."""

import pickle
from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from rir_jax import GeneralizedConv, GeneralizedDense, resnet_init_conv
from rir_jax.models import streams
from tests.proofs import distance

KEY = jax.random.key(0)


def normal(*shape, dtype=jnp.float32):
    return jnp.asarray(np.random.default_rng(0).normal(size=shape), dtype)


@pytest.mark.parametrize(
    ("fields", "shape"),
    [
        ({"kernel_size": 3}, (2, 5, 4, 4)),
        ({"kernel_size": (3, 5), "padding": (1, 2)}, (2, 5, 6, 4)),
        ({"kernel_size": [3, 3], "strides": [2, 1]}, (2, 4, 4, 4)),
        ({"kernel_size": (3, 3), "strides": 2, "padding": 1}, (2, 4, 6, 4)),
        ({"kernel_size": (1, 1), "strides": None, "padding": "SAME"}, (2, 4, 4, 4)),
        ({"kernel_size": (3, 3), "padding": "SAME", "use_bias": True}, (2, 4, 4, 4)),
        ({"kernel_size": (3, 3), "padding": ((1, 1), (1, 1))}, (4, 4, 4)),
        ({"kernel_size": (3, 3), "strides": 2}, (4, 4, 4)),
        ({"kernel_size": (3, 3)}, (2, 3, 4, 4, 4)),
        ({"kernel_size": (3, 3)}, (0, 4, 4, 4)),
        ({"kernel_size": (3,), "strides": 2}, (2, 6, 4)),
        ({"kernel_size": (3,)}, (6, 4)),
        ({"kernel_size": (3, 1, 3), "strides": 2}, (2, 4, 3, 4, 4)),
        ({"kernel_size": (3, 3), "precision": "highest"}, (2, 4, 4, 4)),
    ],
    ids=str,
)
def test_it_is_nn_conv_with_another_kernel(fields, shape):
    x = normal(*shape)
    layer = GeneralizedConv(6, **fields)
    variables = {"params": layer.init(KEY, x)["params"]}
    if "bias" in variables["params"]:
        variables["params"]["bias"] = normal(6)
    fields = {**fields, "kernel_size": layer.window, "padding": layer.pads}
    ordinary = nn.Conv(6, **{"use_bias": False, **fields})
    params = variables["params"] | {"kernel": layer.applied_kernel(variables["params"]["kernel"])}
    expected = ordinary.apply({"params": params}, x)
    found = layer.apply(variables, x)
    assert found.shape == expected.shape
    if x.size:
        assert distance(found, expected) < 1e-5
    gradients = jax.grad(lambda v: jnp.sum(layer.apply(v, x) ** 2))(variables)
    assert jax.tree.map(jnp.shape, gradients) == jax.tree.map(jnp.shape, variables)


# The ordinary layer, the generalized one, and an input of theirs.
PAIRS = {
    "conv": (
        partial(nn.Conv, 6, (3, 3), use_bias=False),
        partial(GeneralizedConv, 6, (3, 3)),
        (2, 4, 4, 4),
    ),
    "dense": (partial(nn.Dense, 6), partial(GeneralizedDense, 6), (2, 4)),
}


@pytest.mark.parametrize("kind", PAIRS)
@pytest.mark.parametrize("param_dtype", [jnp.float32, jnp.bfloat16])
@pytest.mark.parametrize("x_dtype", [jnp.float32, jnp.bfloat16])
@pytest.mark.parametrize("dtype", [None, jnp.float32, jnp.bfloat16])
def test_types_are_those_of_flax(kind, dtype, x_dtype, param_dtype):
    *makes, shape = PAIRS[kind]
    x = jax.ShapeDtypeStruct(shape, x_dtype)
    ordinary, ours = (make(dtype=dtype, param_dtype=param_dtype) for make in makes)
    with jax.numpy_dtype_promotion("standard"):  # Flax's layers refuse mixed types under "strict"
        expected = jax.eval_shape(ordinary.init_with_output, KEY, x)
    assert jax.eval_shape(ours.init_with_output, KEY, x) == expected


@pytest.mark.parametrize("kind", PAIRS)
def test_a_promotion_of_ones_own_is_used(kind):
    _, make, shape = PAIRS[kind]
    seen = []

    def promote(x, kernel, bias, dtype):
        seen.append((x.dtype, kernel.dtype, dtype))
        return [a if a is None else a.astype(jnp.float16) for a in (x, kernel, bias)]

    layer = make(promote_dtype=promote, dtype=jnp.bfloat16)
    y, _ = jax.eval_shape(layer.init_with_output, KEY, jax.ShapeDtypeStruct(shape, jnp.float32))
    assert (y.dtype, seen) == (jnp.float16, [(jnp.float32, jnp.float32, jnp.bfloat16)])


@pytest.mark.parametrize("kind", PAIRS)
def test_precision_reaches_the_products_and_bias_init_the_bias(kind):
    _, make, shape = PAIRS[kind]
    layer = make(precision="highest", use_bias=True, bias_init=nn.initializers.ones)
    x = normal(*shape)
    variables = layer.init(KEY, x)
    assert np.array_equal(variables["params"]["bias"], np.ones(6))
    program = str(jax.make_jaxpr(layer.apply)(variables, x))
    assert program.count("Precision.HIGHEST") >= 1


def layer_of(kind):
    """A layer that keeps its shape, so that it can be stacked; and an input."""
    if kind == "conv":
        return partial(GeneralizedConv, 4, (3, 3)), normal(2, 4, 4, 4)
    return partial(GeneralizedDense, 4), normal(2, 4)


KINDS = pytest.mark.parametrize("kind", PAIRS)


def of_ones_own(make):
    """A layer in a network that is lifted: a class, as ``nn.remat`` and the others take."""

    class Layer(nn.Module):
        @nn.compact
        def __call__(self, x):
            return nn.relu(make()(x))

    return Layer


@pytest.mark.slow
@KINDS
def test_remat_changes_nothing(kind):
    make, x = layer_of(kind)
    plain, lifted = make(), nn.remat(make.func)(*make.args)
    variables = plain.init(KEY, x)

    def loss(layer):
        return jax.value_and_grad(lambda v, x: jnp.sum(layer.apply(v, x) ** 3), (0, 1))

    expected, found = (loss(layer)(variables, x) for layer in (plain, lifted))
    for a, b in zip(jax.tree.leaves(expected), jax.tree.leaves(found), strict=True):
        assert distance(b, a) < 1e-6
    assert "remat" in str(jax.make_jaxpr(loss(lifted))(variables, x))


def nth(stacked, number):
    return jax.tree.map(lambda leaf: leaf[number], stacked)


@pytest.mark.slow
@KINDS
def test_scan_over_layers_is_the_loop(kind):
    make, x = layer_of(kind)
    layer = of_ones_own(make)

    class Stack(nn.Module):
        @nn.compact
        def __call__(self, x):
            body = nn.scan(
                lambda module, x, _: (module(x), None),
                variable_axes={"params": 0},
                split_rngs={"params": True},
                length=3,
            )
            return body(layer(name="layers"), x, None)[0]

    variables = Stack().init(KEY, x)
    one = layer()

    def looped(variables, x):
        for number in range(3):
            x = one.apply({"params": nth(of_layers(variables), number)}, x)
        return jnp.sum(x**2)

    def of_layers(variables):
        return variables["params"]["layers"]

    def scanned(variables, x):
        return jnp.sum(Stack().apply(variables, x) ** 2)

    expected = jax.value_and_grad(looped)(variables, x)
    found = jax.jit(jax.value_and_grad(scanned))(variables, x)
    for a, b in zip(jax.tree.leaves(expected), jax.tree.leaves(found), strict=True):
        assert distance(b, a) < 1e-5


@pytest.mark.slow
@KINDS
def test_vmap_makes_an_ensemble(kind):
    make, x = layer_of(kind)
    many = nn.vmap(
        make.func,
        variable_axes={"params": 0},
        split_rngs={"params": True},
        in_axes=None,
        axis_size=3,
    )(*make.args)
    variables = many.init(KEY, x)
    together = many.apply(variables, x)
    for number in range(3):
        alone = make().apply(nth(variables, number), x)
        assert distance(together[number], alone) < 1e-5
    assert distance(together[0], together[1]) > 0.1


@pytest.mark.slow
@KINDS
def test_a_scope_can_be_shared(kind):
    make, x = layer_of(kind)

    class Wrapped(nn.Module):
        inner: nn.Module

        def setup(self):
            nn.share_scope(self, self.inner)

        def __call__(self, x):
            return self.inner(x)

    plain = make()
    variables = plain.init(KEY, x)
    wrapped = Wrapped(make())
    assert jax.tree.map(jnp.shape, wrapped.init(KEY, x)) == jax.tree.map(jnp.shape, variables)
    assert distance(wrapped.apply(variables, x), plain.apply(variables, x)) == 0


@KINDS
def test_it_lives_in_nnx(kind):
    make, x = layer_of(kind)
    layer = nnx.bridge.ToNNX(make(), rngs=nnx.Rngs(0)).lazy_init(x)
    params = nnx.to_pure_dict(nnx.state(layer, nnx.Param))
    assert distance(layer(x), make().apply({"params": params}, x)) == 0

    @nnx.jit
    def gradient_of(layer):
        return nnx.grad(lambda layer: jnp.sum(layer(x) ** 2))(layer)

    gradients = nnx.to_pure_dict(gradient_of(layer))
    expected = jax.grad(lambda p: jnp.sum(make().apply({"params": p}, x) ** 2))(params)
    assert distance(gradients["kernel"], expected["kernel"]) < 1e-5


@KINDS
def test_it_is_tabulated(kind):
    make, x = layer_of(kind)
    table = make().tabulate(KEY, x, console_kwargs={"width": 120}, compute_flops=True)
    parameters = sum(a.size for a in jax.tree.leaves(make().init(KEY, x)))
    assert make.func.__name__ in table
    assert f"Total Parameters: {parameters}" in table


@KINDS
def test_it_is_pickled(kind):
    """Flax's own layers are not, for their kernel_init is a local function."""
    make, _ = layer_of(kind)
    layer = make()
    assert pickle.loads(pickle.dumps(layer)) == layer


def test_one_call_makes_an_nn_conv_within_a_network():
    class Net(nn.Module):
        @nn.compact
        def __call__(self, x):
            return resnet_init_conv(4, 3, strides=2, name="down")(x)

    x = normal(1, 4, 4, 4)
    params = Net().init(KEY, x)["params"]
    assert jax.tree.map(jnp.shape, params) == {"down": {"kernel": (3, 3, 4, 4)}}
    identity = streams.partial_identity((3, 3, 4, 4))
    kept = Net().apply({"params": {"down": {"kernel": identity}}}, x)
    assert distance(kept[..., :2], x[:, ::2, ::2, :2]) == 0
