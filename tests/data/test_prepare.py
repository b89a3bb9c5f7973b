"""What `prepare` refuses before it downloads anything, and what it says of a failure."""

import importlib.util
import types

import pytest
import tensorflow_datasets as tfds

from rir_jax.data import sources
from rir_jax.errors import InputError, RunError
from rir_jax.prepare import prepare

IMAGES = tfds.features.FeaturesDict(
    {
        "image": tfds.features.Image(shape=(8, 8, 3)),
        "label": tfds.features.ClassLabel(num_classes=2),
    }
)
PLACES = tfds.features.FeaturesDict({"place": tfds.features.Text()})


class Builder:
    """A TFDS builder; it downloads nothing, and fails."""

    def __init__(self, features=IMAGES, configs=()):
        self.info = types.SimpleNamespace(features=features)
        self.builder_configs = dict.fromkeys(configs)
        self.builder_config = configs[0] if configs else None

    def download_and_prepare(self):
        raise OSError("No space\nleft on device")


@pytest.fixture
def found(monkeypatch):
    """``found(builder)``: what TFDS has under any name; TensorFlow seems to be there."""
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: name)

    def find(builder):
        def build(*_, **__):
            if isinstance(builder, Exception):
                raise builder
            return builder

        monkeypatch.setattr(tfds, "builder", build)

    return find


@pytest.mark.parametrize(
    ("name", "builder", "message"),
    [
        ("mnist", Builder(configs=("a", "b")), "has several configs; allowed: mnist/a, mnist/b"),
        ("mnist/c", ValueError("no config\n  c"), "dataset 'mnist/c': no config c$"),
        ("mnist", Builder(PLACES), "has no classes of images: its feature 'image' is none"),
    ],
    ids=["configs", "unknown config", "no images"],
)
def test_what_cannot_be_trained_on_is_not_downloaded(name, builder, message, found, tmp_path):
    found(builder)
    with pytest.raises(InputError, match=message):
        prepare(name, str(tmp_path))


def test_a_failed_download_is_told_of_in_one_line(found, tmp_path):
    found(Builder())
    with pytest.raises(RunError) as error:
        prepare("mnist", str(tmp_path))
    assert f"'mnist' could not be prepared in {tmp_path}: No space left on" in str(error.value)
    assert "\n" not in str(error.value)


def test_a_bucket_is_read_but_not_prepared_in(monkeypatch):
    def absent(*_):
        raise InputError("not there")

    monkeypatch.setattr(sources, "prepared_folder", absent)
    with pytest.raises(InputError, match=r"data_dir is gs://runs/data, .*; allowed: a folder on a"):
        prepare("mnist", "gs://runs/data")
