"""pytorchcv's network, from its own weights: what it recorded, and what is refused."""

from pathlib import Path

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import rir_jax
from rir_jax import interop
from tests.compiling import FAST_COMPILE
from tests.interop.comparison import compare, state_dict_of
from tests.proofs import distance, randomized

FIXTURE = Path(__file__).parent / "data" / "pytorchcv.npz"
NARROW = {"stem_width": 4, "widths": (4, 6, 8), "blocks": (1, 1, 2)}


def narrow(dtype=jnp.float32, **fields):
    fields = {**interop.PYTORCHCV, **NARROW, **fields}
    return rir_jax.create_model("rir18_wide", 3, dtype=dtype, param_dtype=dtype, **fields)


@pytest.fixture(scope="module")
def record():
    with np.load(FIXTURE) as file:
        return dict(file)


@pytest.fixture
def state_dict(record):
    return state_dict_of(record, "before")


@pytest.mark.parametrize(
    ("dtype", "tolerance"),
    [pytest.param(jnp.float32, 1e-4, marks=pytest.mark.slow), (jnp.float64, 1e-9)],
)
def test_it_is_the_network_that_pytorchcv_runs(record, dtype, tolerance):
    with jax.enable_x64(dtype == jnp.float64):
        distances = compare(narrow(dtype), record, FAST_COMPILE)
    assert max(distances.values()) < tolerance, distances


def test_folded_it_is_still_that_network(record, state_dict):
    with jax.enable_x64(True):
        model = narrow(jnp.float64)
        plain, folded = rir_jax.fold(model, interop.from_pytorchcv(state_dict, model))
        logits = jax.jit(plain.apply)(folded, record["images"])
        assert distance(logits, record["inference_logits"]) < 1e-9


def test_a_round_trip_of_theirs_is_exact(state_dict):
    again = interop.to_pytorchcv(
        interop.from_pytorchcv(state_dict, narrow()), narrow(), num_batches_tracked=7
    )
    assert set(again) == set(state_dict)
    for name, value in state_dict.items():
        assert again[name].dtype == value.dtype
        np.testing.assert_array_equal(again[name], value, err_msg=name)


class Tensor:
    """PyTorch's of bfloat16, which NumPy cannot read as it is."""

    def __init__(self, value, dtype="torch.bfloat16"):
        self._value, self.dtype = value, dtype

    detach = cpu = lambda self: self

    def float(self):
        return Tensor(self._value.astype(np.float32), "torch.float32")

    def numpy(self):
        if self.dtype == "torch.bfloat16":
            raise TypeError("Got unsupported ScalarType BFloat16")
        return self._value


@pytest.mark.parametrize("held_by", [np.asarray, jnp.asarray, Tensor])
def test_bfloat16_is_a_floating_type(held_by, state_dict):
    narrowed = {
        name: value.astype(jnp.bfloat16)
        for name, value in state_dict.items()
        if not name.endswith("num_batches_tracked")
    }
    variables = interop.from_pytorchcv({n: held_by(v) for n, v in narrowed.items()}, narrow())
    written = interop.to_pytorchcv(variables, narrow())
    for name, value in narrowed.items():
        assert written[name].dtype == jnp.bfloat16
        np.testing.assert_array_equal(written[name], value)


def test_a_round_trip_of_ours_is_exact_at_full_size():
    model = rir_jax.create_model("rir18_wide", num_classes=100, **interop.PYTORCHCV)
    shapes = jax.eval_shape(model.init, jax.random.key(0), jnp.zeros((1, 8, 8, 3)))
    assert sum(leaf.size for leaf in jax.tree.leaves(shapes["params"])) == 9_527_720
    variables = randomized(shapes)
    again = interop.from_pytorchcv(interop.to_pytorchcv(variables))
    chex.assert_trees_all_equal(again, variables, strict=True)


def test_counters_may_be_absent_and_are_zero_unless_said(state_dict):
    bare = {name: value for name, value in state_dict.items() if "tracked" not in name}
    variables = interop.from_pytorchcv(bare, narrow())
    again = interop.to_pytorchcv(variables, narrow())
    counters = {name: value for name, value in again.items() if "tracked" in name}
    assert len(counters) == 2 + 2 * 8 + 1  # of every batch norm: two for each pair of streams
    assert {(value.dtype.name, int(value)) for value in counters.values()} == {("int64", 0)}


UNIT = "features.stage1.unit2.res_cross_conv.weight"


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (None, f"'{UNIT}' is missing"),
        (np.zeros((2, 2, 1, 1)), rf"'{UNIT}' has shape \(2, 2, 1, 1\), allowed: \(2, 2, 3, 3\)"),
        (np.zeros((2, 2, 3, 3), int), f"'{UNIT}' is int64; allowed: a floating type"),
        (np.array(["x"]), f"'{UNIT}' has shape"),
    ],
)
def test_a_wrong_entry_is_named(state_dict, value, message):
    wrong = {**state_dict, UNIT: value}
    if value is None:
        del wrong[UNIT]
    with pytest.raises(rir_jax.InputError, match=message):
        interop.from_pytorchcv(wrong, narrow())


def test_the_first_of_each_kind_of_wrong_entry_is_named(state_dict):
    wrong = {k: v for k, v in state_dict.items() if "stage2.unit2" not in k}
    wrong |= {"features.stage4.unit1.extra": np.zeros(1), "output.extra": np.zeros(1)}
    wrong["output.final_conv.bn.bias"] = np.zeros(9)
    message = (
        "'features.stage2.unit2.res_pass_conv.weight' is missing (and 11 more); "
        "'features.stage4.unit1.extra' is not expected (and 1 more); "
        "'output.final_conv.bn.bias' has shape (9,), allowed: (3,)"
    )
    with pytest.raises(rir_jax.InputError) as caught:
        interop.from_pytorchcv(wrong, narrow())
    assert str(caught.value) == f"state_dict is not pytorchcv's: {message}"


@pytest.mark.parametrize("classes", [10, 100])
def test_the_published_network_is_the_default(classes):
    published = rir_jax.create_model("rir18_wide", classes, **interop.PYTORCHCV)
    images = jax.ShapeDtypeStruct((1, 32, 32, 3), jnp.float32)
    expected = jax.eval_shape(published.init, jax.random.key(0), images)
    zeros = jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), expected)
    found = interop.from_pytorchcv(interop.to_pytorchcv(zeros))
    shapes = jax.tree.map(jnp.shape, found), jax.tree.map(jnp.shape, expected)
    assert shapes[0] == shapes[1]


def test_a_smaller_network_is_not_taken_for_the_default(state_dict):
    with pytest.raises(rir_jax.InputError, match=r"'features.stage1.unit3.res_pass.* is missing"):
        interop.from_pytorchcv(state_dict)
    with pytest.raises(rir_jax.InputError, match=r"/stage1_block2/.* is missing"):
        interop.to_pytorchcv(interop.from_pytorchcv(state_dict, narrow()))


@pytest.mark.parametrize("field", ["outer_shortcut", "shortcut", "stride_layer", "use_bias"])
def test_networks_that_pytorchcv_does_not_have_are_refused(state_dict, field):
    model = narrow(**{field: interop.NUTSZEBRA[field]})
    with pytest.raises(rir_jax.InputError, match=f"model.{field} is .* allowed for pytorchcv"):
        interop.from_pytorchcv(state_dict, model)
    with pytest.raises(rir_jax.InputError, match=f"model.{field} is .* allowed for pytorchcv"):
        interop.to_pytorchcv({}, model)
