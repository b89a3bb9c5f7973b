"""A finished run, an unfinished one, and pictures of digits."""

import numpy as np
import pytest
from PIL import Image

import rir_jax
from rir_jax.data import sources
from tests.training.tiny import tiny_config


@pytest.fixture(scope="session")
def finished(tmp_path_factory):
    """The folder of a finished run on the digits."""
    workdir = tmp_path_factory.mktemp("finished") / "run"
    rir_jax.train_and_evaluate(tiny_config(), workdir)
    return workdir


@pytest.fixture(scope="session")
def loaded(finished):
    """Its model, variables and info."""
    return rir_jax.load(finished)


@pytest.fixture(scope="session")
def digits():
    """Test images of the digits, uint8 [N, 8, 8, 1]."""
    return sources.load("digits").held_out.images


@pytest.fixture(scope="session")
def digit_files(digits, tmp_path_factory):
    """The first four as PNG files of their own size."""
    folder = tmp_path_factory.mktemp("digits")
    paths = []
    for number, image in enumerate(digits[:4]):
        paths.append(folder / f"digit{number}.png")
        Image.fromarray(np.squeeze(image)).save(paths[-1])
    return paths
