"""Features and the stages' outputs: what the head's classes are computed from, folded or not."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import rir_jax
from tests.proofs import random_variables

SMALL = {"widths": (4, 6, 8), "blocks": (1, 1, 1), "stem_width": 4}


@pytest.fixture(params=["rir32", "rir18_wide", "cnn32"])
def network(request):
    model = rir_jax.create_model(request.param, **SMALL)
    images = jax.random.normal(jax.random.key(1), (3, 16, 12, 3))
    return model, random_variables(model, images), images


@pytest.mark.slow
def test_logits_are_computed_from_the_features(network):
    model, variables, images = network
    features = model.apply(variables, images, method="features")
    assert (features.shape, features.dtype) == ((3, 8), jnp.float32)
    plain, folded = rir_jax.fold(model, variables)
    head = folded["params"]["head_dense" if model.head == "dense" else "head_conv"]
    kernel = head["kernel"].reshape(8, 10)
    logits = model.apply(variables, images)
    np.testing.assert_allclose(features @ kernel + head["bias"][None], logits, atol=2e-5)
    np.testing.assert_allclose(plain.apply(folded, images, method="features"), features, atol=2e-5)


@pytest.mark.slow
def test_stages_by_name(network):
    model, variables, images = network
    outputs = model.apply(variables, images, method="stages")
    assert {name: x.shape for name, x in outputs.items()} == {
        "stem": (3, 16, 12, 4),
        "stage1": (3, 16, 12, 4),
        "stage2": (3, 8, 6, 6),
        "stage3": (3, 4, 3, 8),
    }
    features = model.apply(variables, images, method="features")
    np.testing.assert_allclose(outputs["stage3"].mean(axis=(1, 2)), features, rtol=1e-6)
    assert all(float(x.min()) >= 0 for x in outputs.values()), "after the ReLU"


def test_what_is_not_asked_for_is_not_computed(network):
    model, variables, images = network
    logits, features = (
        jax.jit(lambda v, x, m=method: model.apply(v, x, method=m)).lower(variables, images)
        for method in ("__call__", "features")
    )
    flops = [of.compile().cost_analysis()["flops"] for of in (logits, features)]
    assert flops[1] < flops[0]
