"""Safetensors with a JSON description: the same network comes back, and nothing else passes."""

import json

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import safetensors.numpy

import rir_jax
from rir_jax.models.variables import variable_shapes
from tests.commands import assert_one_line

pytestmark = pytest.mark.slow


@pytest.fixture
def folder(loaded, tmp_path):
    rir_jax.save_pretrained(tmp_path / "weights", *loaded)
    return tmp_path / "weights"


def test_the_same_network_comes_back(folder, loaded, digits):
    model, variables, info = rir_jax.from_pretrained(folder)
    chex.assert_trees_all_equal(variables, loaded[1], strict=True)
    assert model == loaded[0]
    assert (info.class_names, info.image_shape) == (loaded[2].class_names, (8, 8, 1))
    logits = jax.jit(model.apply)(variables, info.preprocess(digits[:3]))
    np.testing.assert_array_equal(
        logits, jax.jit(loaded[0].apply)(loaded[1], loaded[2].preprocess(digits[:3]))
    )


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_every_field_and_type_survives(tmp_path, dtype):
    fields = {"shortcut": "projection", "head": "conv", "widths": (4, 6), "blocks": (1, 1)}
    fields |= {"stem_width": 4, "use_bias": True, "norm_momentum": 0.5, "param_dtype": dtype}
    model = rir_jax.create_model("rir18_wide", 3, **fields)
    random = np.random.default_rng(0)
    variables = jax.tree.map(
        lambda leaf: random.normal(size=leaf.shape).astype(leaf.dtype), variable_shapes(model)
    )
    info = rir_jax.Info(["a", "b", "c"], (8, 8, 3), [1, 2, 3], [4, 5, 6], dataset="mine")
    rir_jax.save_pretrained(tmp_path, model, variables, info)
    model_back, back, info_back = rir_jax.from_pretrained(tmp_path, dtype=jnp.bfloat16)
    assert model_back == model.clone(dtype=jnp.bfloat16)
    chex.assert_trees_all_equal(back, variables, strict=True)
    assert {leaf.dtype for leaf in jax.tree.leaves(back["params"])} == {jnp.dtype(dtype)}
    assert (info_back.mean.tolist(), info_back.dataset) == ([1, 2, 3], "mine")


def test_any_reader_of_safetensors_finds_the_names(folder):
    arrays = safetensors.numpy.load_file(folder / "model.safetensors")
    assert arrays["params/stem_conv/kernel"].shape == (3, 3, 1, 4)
    assert "batch_stats/stage1_block1/norm2/var" in arrays


def test_predictions_of_the_weights(command, folder, finished, digit_files):
    outputs = [
        command("rir_jax.predict", source, *digit_files)[1]
        for source in (f"--weights={folder}", f"--workdir={finished}")
    ]
    assert outputs[0] == outputs[1]
    assert outputs[0].count("\n") == 16


def _rewrite(folder, change):
    path = folder / "model.safetensors"
    arrays = safetensors.numpy.load_file(path)
    change(arrays)
    safetensors.numpy.save_file(arrays, path)


def _remove(arrays):
    del arrays["params/stem_conv/kernel"]


def _rename(arrays):
    arrays["params/stem_conv/weights"] = arrays.pop("params/stem_conv/kernel")


def _reshape(arrays):
    arrays["batch_stats/stem_norm/mean"] = np.zeros(5, np.float32)


def _leaf_for_branch(arrays):
    arrays["params/stem_conv"] = np.zeros(5, np.float32)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_remove, "'params/stem_conv/kernel' is missing"),
        (_rename, "'params/stem_conv/weights' is not expected"),
        (_reshape, "'batch_stats/stem_norm/mean' has shape (5,), allowed: (4,)"),
        (_leaf_for_branch, "model.safetensors"),
    ],
)
def test_wrong_names_or_shapes_get_one_line(command, folder, digit_files, change, message):
    _rewrite(folder, change)
    found = command("rir_jax.predict", f"--weights={folder}", digit_files[0])
    assert_one_line(found, message)


def test_what_is_no_network_gets_one_line(command, folder, digit_files, tmp_path):
    def predict(where=folder):
        return command("rir_jax.predict", f"--weights={where}", digit_files[0])

    assert_one_line(predict(tmp_path / "absent"), "config.json cannot be read")
    path, weights = folder / "config.json", folder / "model.safetensors"
    described = json.loads(path.read_text())
    content = weights.read_bytes()
    for torn in (content[:-7], b"", b"\0" * 64):
        weights.write_bytes(torn)
        assert_one_line(predict(), f"{weights} is not a safetensors file")
    weights.write_bytes(content)
    for change, message in [
        ({"format": "another"}, "is not a description of a network"),
        ({"model": {**described["model"], "widths": [4, 7]}}, "widths"),
        ({"model": {**described["model"], "depth": 3}}, "depth"),
        ({"class_names": ["0"]}, "1 class names of 10 classes"),
        ({"std": [0.0]}, "std is [0.0]; allowed: more than 0"),
        ({"mean": "grey"}, "mean"),
        ({"mean": [1.0, 2.0]}, "one number for each of 1 channels"),
    ]:
        path.write_text(json.dumps({**described, **change}))
        assert_one_line(predict(), message)
    path.write_text("{")
    assert_one_line(predict(), f"{path} is not a JSON file")


def test_a_network_is_saved_with_a_name_for_each_logit(loaded, tmp_path):
    model, variables, _ = loaded
    info = rir_jax.Info(["one"], (8, 8, 1), [1.0], [1.0])
    with pytest.raises(rir_jax.InputError, match="class_names are 1; allowed: 10"):
        rir_jax.save_pretrained(tmp_path, model, variables, info)
    with pytest.raises(ValueError, match="variables are not this network's"):
        rir_jax.save_pretrained(tmp_path, model.clone(stem_width=2), variables, info)
    assert list(tmp_path.iterdir()) == []


def test_what_is_known_of_a_network_prints_in_three_lines():
    names = [f"a class of many words, number {number}" for number in range(1000)]
    config = rir_jax.default_config()
    info = rir_jax.Info(
        names, (32, 32, 3), [0.0] * 3, [1.0] * 3, "photos", 7, config, card={"seconds": 1.0}
    )
    assert len(repr(info)) < 300
    for known in ("1000 classes", "(32, 32, 3)", "'photos'", "step 7", "'rir18_wide'"):
        assert known in str(info)
