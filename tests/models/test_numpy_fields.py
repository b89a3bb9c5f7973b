"""NumPy's numbers and arrays stand wherever Python's may; `dtype=None` is as Flax means it."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import rir_jax
from rir_jax import GeneralizedConv, GeneralizedDense
from rir_jax import config as configs


def test_of_networks_are_as_pythons():
    fields = {"widths": [4, 8], "blocks": [1, 1], "stem_width": 4, "use_bias": True}
    expected = rir_jax.create_model("rir32", num_classes=3, norm_momentum=0.5, **fields)
    found = rir_jax.create_model(
        "rir32",
        num_classes=np.array([0, 2]).max() + 1,
        widths=np.array([4, 8]),
        blocks=tuple(np.array([1, 1])),
        stem_width=np.uint8(4),
        use_bias=np.bool_(True),
        norm_momentum=np.float32(0.5),
    )
    assert found == expected
    assert hash(found) == hash(expected), "as static arguments of jit are told apart"
    assert type(found.widths[0]) is int


@pytest.mark.parametrize("value", [np.float64(8), np.bool_(True), np.array([8, 8]), np.int64(0)])
def test_what_is_no_whole_number_is_refused_still(value):
    with pytest.raises(ValueError, match="num_classes is"):
        rir_jax.create_model("rir32", num_classes=value)
    with pytest.raises(ValueError, match="features is"):
        GeneralizedConv(value)
    with pytest.raises(ValueError, match="features is"):
        GeneralizedDense(value)


def test_of_layers_are_as_pythons():
    assert GeneralizedConv(np.int64(8)) == GeneralizedConv(8)
    assert GeneralizedDense(np.int32(8)) == GeneralizedDense(8)


def test_of_configs_are_as_pythons():
    config = rir_jax.default_config()
    config.optimizer.learning_rate = np.float64(0.1)
    config.schedule.milestones = tuple(np.array([42, 62]))
    config.model.widths = tuple(np.array([96, 192, 384]))
    configs.validate(config)
    values = json.loads(json.dumps(configs.flatten(config)))
    assert values["schedule.milestones"] == [42, 62]
    assert configs.flatten(configs.from_flat(values)) == configs.flatten(config)


NETWORK = {"widths": (4,), "blocks": (1,), "stem_width": 4}


@pytest.mark.parametrize("fields", [{}, {"head": "conv"}], ids=["dense", "conv"])
@pytest.mark.parametrize(
    ("images", "params", "computed"),
    [
        (jnp.float32, jnp.float32, jnp.float32),
        (jnp.bfloat16, jnp.bfloat16, jnp.bfloat16),
        (jnp.bfloat16, jnp.float32, jnp.float32),
        (jnp.float16, jnp.bfloat16, jnp.float32),
        (jnp.float64, jnp.float32, jnp.float64),
    ],
)
def test_no_dtype_is_that_of_images_and_parameters_together(images, params, computed, fields):
    with jax.enable_x64(True):
        types = {"dtype": None, "param_dtype": params}
        network = rir_jax.create_model("rir32", **NETWORK, **types, **fields)
        x = jnp.ones((1, 4, 4, 3), images)
        variables = jax.eval_shape(network.init, jax.random.key(0), x)
        logits, stages = (
            jax.eval_shape(lambda v, m=method: network.apply(v, x, method=m), variables)
            for method in ("__call__", "stages")
        )
        assert variables["params"]["stem_conv"]["kernel"].dtype == params
        assert stages["stage1"].dtype == computed
        assert logits.dtype == (jnp.float64 if computed == jnp.float64 else jnp.float32)
        plain, folded = rir_jax.fold(network, jax.tree.map(_ones, variables))
        assert jax.eval_shape(plain.apply, folded, x).dtype == logits.dtype


def _ones(of):
    return jnp.ones(of.shape, of.dtype)
