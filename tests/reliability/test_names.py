"""Names that hold any character that a file system takes: of runs, exports, weights and images."""

import os

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from etils import epath
from flax import struct

from rir_jax import files
from rir_jax.data.images import read_image
from rir_jax.errors import InputError
from rir_jax.runs.checkpoints import Checkpoints
from tests.data.prepared import png

NAMES = ["lr[0.1]", "a*b", "a?", "a b", "ü", "{a,b}", "a\\b", "a%20b", "d\udcff", "a\nb", "-x", "~"]


class State(struct.PyTreeNode):
    step: jax.Array
    weights: jax.Array


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("RIR_JAX_CACHE", str(tmp_path / "cache"))


def save_and_restore(folder):
    state = State(jnp.int32(3), jnp.arange(4096.0).reshape(64, 64))
    checkpoints = Checkpoints(folder)
    checkpoints.save(state, {})
    checkpoints.close()
    restored, _ = Checkpoints(folder).restore(lambda notes: jax.eval_shape(lambda: state))
    return state, restored


@pytest.mark.parametrize("name", NAMES)
def test_checkpoints_lie_in_folders_of_any_name(name, tmp_path):
    state, restored = save_and_restore(tmp_path / name)
    chex.assert_trees_all_equal(state, restored, strict=True)
    assert os.listdir(tmp_path / name) == ["3"]
    assert set(os.listdir(tmp_path)) <= {name, "cache"}, "and in no other"


def test_and_without_a_cache_folder(tmp_path, monkeypatch):
    for cache in ("/proc/none", tmp_path / "c[1]"):
        monkeypatch.setenv("RIR_JAX_CACHE", str(cache))
        state, restored = save_and_restore(tmp_path / "runs[1]" / str(cache).replace("/", "_"))
        chex.assert_trees_all_equal(state, restored, strict=True)


def test_a_plain_name_is_left_as_it_is(tmp_path):
    for name in (tmp_path / "a-b.c, d=1/ü", epath.Path("gs://bucket/a[1]")):
        assert files.plain(name) == epath.Path(name)


@pytest.mark.parametrize("name", NAMES)
def test_images_have_any_name(name, tmp_path):
    (tmp_path / f"{name}.png").write_bytes(png(np.zeros((2, 3, 3), np.uint8)).getvalue())
    assert read_image(f"{tmp_path}/{name}.png").shape == (2, 3, 3)


def test_home_is_a_tilde(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    assert files.path("~/runs/a[1]") == epath.Path(tmp_path / "runs/a[1]")
    assert files.path("a/~/b") == epath.Path("a/~/b")
    (tmp_path / "~x.png").write_bytes(png(np.zeros((2, 3, 3), np.uint8)).getvalue())
    assert read_image("~x.png").shape == (2, 3, 3), "no user is called so"
    with pytest.raises(InputError, match=r"image ~/x\.png does not exist"):
        read_image("~/x.png")
