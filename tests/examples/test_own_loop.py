"""The example of a loop of one's own: it learns the digits, with nothing of ours but the model."""

import runpy
from pathlib import Path

import jax
import numpy as np
import pytest

import rir_jax
from rir_jax.data import sources

pytestmark = pytest.mark.slow

EXAMPLE = Path(__file__).parents[2] / "examples" / "own_loop.py"


def test_it_learns_the_digits_in_sixty_lines():
    example = runpy.run_path(str(EXAMPLE))
    data = sources.load("digits")
    train, test = (
        split.images.astype(np.float32) / 128 - 0.6 for split in (data.train, data.held_out)
    )
    model = rir_jax.create_model("rir32", blocks=(1, 1, 1))
    variables = example["train"](model, train, data.train.labels, epochs=3)
    logits = jax.jit(model.apply)(variables, test)
    assert np.mean(np.argmax(logits, axis=-1) == data.held_out.labels) > 0.9
    assert len(EXAMPLE.read_text().splitlines()) <= 60
    assert EXAMPLE.read_text().count("rir_jax.") == 1, "create_model alone"
