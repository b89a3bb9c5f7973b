"""ONNX files: the live network's logits in onnxruntime, for every kind of network and any batch."""

import importlib.util
import json

import numpy as np
import onnx
import onnxruntime
import pytest

import rir_jax
from rir_jax.trained import onnx_graph
from tests.commands import assert_one_line
from tests.proofs import random_variables

SMALL = {"widths": (4, 6, 8), "blocks": (1, 2, 1), "stem_width": 4}
KINDS = {
    "rir": {},
    "cnn": {"two_streams": False, "outer_shortcut": "none"},
    "resnet": {"two_streams": False},
    "resnet_init": {"outer_shortcut": "none"},
    "one layer": {"layers_per_block": 1},
    "pre_norm": {"outer_shortcut": "pre_norm"},
    "post_relu, one layer": {"outer_shortcut": "post_relu", "layers_per_block": 1},
    "projection": {"shortcut": "projection", "widths": (6, 4, 8)},
    "resnet, projection": {"two_streams": False, "shortcut": "projection"},
    "stride last": {"stride_layer": "last", "layers_per_block": 3},
    "conv head": {"head": "conv", "use_bias": True},
    "conv head, ReLU": {"head": "conv", "head_relu": True},
}

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_network(kind):
    model = rir_jax.create_model("rir32", 7, **(SMALL | KINDS[kind]))
    info = rir_jax.Info(list("abcdefg"), (13, 10, 3), [120, 125, 110], [60, 65, 62])
    images = np.random.default_rng(0).integers(0, 256, (5, 13, 10, 3), np.uint8)
    variables = random_variables(model, info.preprocess(images))
    content = onnx_graph.to_onnx(model, variables, info)
    onnx.checker.check_model(onnx.load_from_string(content), full_check=True)
    live = np.asarray(model.apply(variables, info.preprocess(images)))
    found = onnx_graph.run(content, images)
    assert (found.shape, found.dtype) == ((5, 7), np.float32)
    np.testing.assert_allclose(found, live, atol=1e-5 * np.abs(live).max(), rtol=0)
    np.testing.assert_allclose(onnx_graph.run(content, images[:1]), found[:1], rtol=1e-4, atol=1e-5)


def test_the_command_writes_checks_and_says_so(command, finished, loaded, digits, tmp_path):
    path = tmp_path / "new" / "model.onnx"
    code, out, err = command("rir_jax.export", f"--workdir={finished}", f"--onnx={path}")
    assert (code, err) == (0, "")
    lines = out.splitlines()
    assert lines[0].startswith(f"{path}: {path.stat().st_size / 1e6:.2f} MB, ONNX")
    assert lines[1].startswith("largest difference from the live network: ")
    session = onnxruntime.InferenceSession(path)
    described = session.get_modelmeta().custom_metadata_map
    assert json.loads(described["class_names"]) == [str(digit) for digit in range(10)]
    assert [str(size) for size in session.get_inputs()[0].shape] == ["N", "8", "8", "1"]
    [logits] = session.run(None, {"images": digits[:9]})
    model, variables, info = loaded
    live = np.asarray(model.apply(variables, info.preprocess(digits[:9])))
    np.testing.assert_allclose(logits, live, atol=1e-4 * np.abs(live).max())


def test_a_graph_that_is_wrong_is_not_written(command, finished, tmp_path, monkeypatch):
    right = onnx_graph.run
    monkeypatch.setattr(onnx_graph, "run", lambda *arguments: right(*arguments) + 0.1)
    code, out, err = command("rir_jax.export", f"--workdir={finished}", f"--onnx={tmp_path / 'x'}")
    assert (code, out) == (1, "")
    assert err.startswith("error: the ONNX graph differs from the network by 1.0e-01 in logits of")
    assert not (tmp_path / "x").exists()


def test_mistakes_get_one_line(command, finished, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    place = tmp_path / "file" / "model.onnx"
    found = command("rir_jax.export", f"--workdir={finished}", f"--onnx={place}")
    assert_one_line(found, f"{place} cannot be written: ")
    find = importlib.util.find_spec
    absent = lambda name, *rest: None if name == "onnx" else find(name, *rest)  # noqa: E731
    monkeypatch.setattr(importlib.util, "find_spec", absent)
    found = command("rir_jax.export", f"--workdir={finished}", f"--onnx={tmp_path / 'x'}")
    assert_one_line(found, "--onnx needs the package onnx: pip install 'rir_jax[onnx]'")
