"""The example of the dense block: it learns the digits."""

import runpy
from pathlib import Path

import jax
import jax.numpy as jnp
import pytest

pytestmark = pytest.mark.slow

EXAMPLE = Path(__file__).parents[2] / "examples" / "digits_mlp.py"


@pytest.fixture(scope="module")
def example():
    return runpy.run_path(str(EXAMPLE))


def test_it_learns_the_digits(example):
    assert example["train"](example["MLP"](depth=3), epochs=6) > 0.95


def test_its_residual_stream_passes_layers_without_filters(example):
    model, x = example["MLP"](width=8, depth=2), jnp.linspace(0, 1, 128).reshape(2, 64)
    variables = jax.jit(model.init)(jax.random.key(0), x)
    layers = [name for name in variables["params"] if name.startswith("GeneralizedDense")]
    assert len(layers) == 2
    for name in layers:
        variables["params"][name] = jax.tree.map(jnp.zeros_like, variables["params"][name])
    logits = jax.jit(model.apply)(variables, x)
    assert float(jnp.abs(logits[0] - logits[1]).max()) > 1e-3
