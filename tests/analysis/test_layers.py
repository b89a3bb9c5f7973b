"""What a network is said to consist of and to cost, against its parameters and XLA's count."""

import json
import xml.etree.ElementTree as ElementTree

import jax
import jax.numpy as jnp
import pytest

import rir_jax
from rir_jax.analysis.drawing import draw_network
from rir_jax.analysis.layers import layers_of, table
from rir_jax.models.variables import variable_shapes
from rir_jax.trained import load
from tests.commands import assert_one_line, command

__all__ = ["command"]
SVG = "{http://www.w3.org/2000/svg}"
PARAMETERS = {"32": 464154, "18_wide": 9469940}


@pytest.mark.parametrize("name", rir_jax.list_models())
def test_parameters_and_layers_of_every_model(name):
    layers = layers_of(rir_jax.create_model(name))
    size = "32" if name.endswith("32") else "18_wide"
    assert sum(layer.parameters for layer in layers) == PARAMETERS[size]
    assert len(layers) == {"32": 32, "18_wide": 18}[size]
    generalized = sum("generalized" in layer.kind for layer in layers)
    assert generalized == (len(layers) - 2 if name.startswith(("rir", "resnet_init")) else 0)


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"shortcut": "projection", "outer_shortcut": "pre_norm"},
        {"two_streams": False, "stride_layer": "last", "use_bias": True},
        {"head": "conv", "layers_per_block": 3},
    ],
)
def test_sums_agree_with_the_parameters_and_with_xla(fields):
    model = rir_jax.create_model("rir32", widths=(8, 16), blocks=(1, 2), stem_width=8, **fields)
    layers = layers_of(model, (16, 16, 3))
    variables = variable_shapes(model)
    parameters = sum(leaf.size for leaf in jax.tree.leaves(variables["params"]))
    assert sum(layer.parameters for layer in layers) == parameters
    images = jax.ShapeDtypeStruct((1, 16, 16, 3), jnp.float32)
    flops = jax.jit(model.apply).lower(variables, images).compile().cost_analysis()["flops"]
    macs = sum(layer.macs for layer in layers)
    # XLA leaves out the products with padding, and counts what is no multiplication with one.
    assert 0.8 < flops / (2 * macs) < 1.15


def test_the_wide_networks_multiplications():
    layers = {layer.name: layer for layer in layers_of(rir_jax.create_model("rir18_wide"))}
    first = layers["stage1_block1/conv1"]
    assert first.macs == 32 * 32 * 96 * 96 * 9
    assert first.parameters == 96 * 96 * 9 + 2 * 96
    assert layers["stage2_block1/conv1"].macs == 16 * 16 * 96 * 192 * 9
    assert layers["stage2_block1/conv1"].kind == "generalized 3x3, stride 2, batch norm"
    assert layers["head_conv"].output_shape == (8, 8, 10)


def test_the_table_ends_with_the_sums():
    lines = table(layers_of(rir_jax.create_model("rir18_wide"))).splitlines()
    assert lines[0].split()[-5:] == ["input", "output", "parameters", "MACs", "share"]
    assert lines[-1].split() == ["18", "layers", "9,469,940", "1,276,919,808"]
    shares = [float(line.split()[-2]) for line in lines[1:-1]]
    assert sum(shares) == pytest.approx(100, abs=1)


def _drawn(model):
    return ElementTree.fromstring(draw_network(model, (8, 8, 3), "a <network>"))


def _strokes(root, color):
    return [path for path in root.iter(f"{SVG}path") if path.get("stroke") == color]


@pytest.mark.parametrize("outer", ["pre_relu", "pre_norm", "post_relu", "none"])
@pytest.mark.parametrize("two_streams", [True, False])
def test_the_picture_has_every_layer_stream_and_shortcut(two_streams, outer):
    model = rir_jax.create_model(
        "rir32", blocks=(2, 1), widths=(16, 32), two_streams=two_streams, outer_shortcut=outer
    )
    root = _drawn(model)
    titles = [title.text for title in root.iter(f"{SVG}title")]
    assert [title.split(":")[0] for title in titles if "conv" in title][:2] == [
        "stem_conv",
        "stage1_block1/conv1",
    ]
    assert len(titles) == 8
    arcs = [path for path in root.iter(f"{SVG}path") if path.get("fill") == "none"]
    joins = [path for path in arcs if path.get("class") == "join"]
    assert len(joins) == (6 if two_streams else 3), "each stream into two stages and the head"
    dashed = [path for path in arcs if path.get("stroke-dasharray")]
    assert len(dashed) == (6 if two_streams else 0), "a shortcut for each layer"
    assert len(arcs) - len(dashed) - len(joins) == (0 if outer == "none" else 3), (
        "one around each block"
    )
    # The legend has one more line of each kind.
    assert len(_strokes(root, "#999999")) == (2 * 6 + 1 if two_streams else 0), "two crossings"
    texts = [text.text for text in root.iter(f"{SVG}text")]
    assert "a <network>" in texts
    assert texts.count("/2") == 1
    assert any(outer in text for text in texts) == (outer != "none")


def test_projections_are_told_from_zero_channels():
    for shortcut, label in [("projection", "1x1 conv"), ("zero_pad", "zero channels")]:
        model = rir_jax.create_model("rir32", blocks=(1, 1), widths=(16, 32), shortcut=shortcut)
        texts = [text.text for text in _drawn(model).iter(f"{SVG}text")]
        assert texts.count(label) == 1


def test_describe_on_the_command_line(command, tmp_path):
    path = tmp_path / "network.svg"
    code, out, err = command(
        "rir_jax.describe", "--model=rir18_wide", f"--svg={path}", "--num_classes=100"
    )
    assert (code, err) == (0, "")
    assert out.splitlines()[-1].split()[:3] == ["18", "layers", "9,504,680"]
    assert ElementTree.parse(path).getroot().tag == f"{SVG}svg"
    code, out, _ = command(
        "rir_jax.describe",
        "--config=configs/cifar10_rir32.py",
        "--config.model.blocks=(1,1,1)",
        "--image_shape=8,8,1",
    )
    assert (code, out.splitlines()[-1].split()[0]) == (0, "8")


def test_a_run_is_described_as_it_was_trained(command, tmp_path, monkeypatch):
    model = rir_jax.create_model("rir32", 7, blocks=(1, 1), widths=(4, 8), stem_width=4)
    config = rir_jax.default_config()
    config.model.name = "rir32"
    info = rir_jax.Info(["a"] * 7, (8, 8, 1), [0.0], [1.0], config=config)
    monkeypatch.setattr(load, "load", lambda workdir: (model, {}, info))
    code, out, _ = command("rir_jax.describe", f"--workdir={tmp_path}")
    assert code == 0
    assert out.splitlines()[:-1] == table(layers_of(model, (8, 8, 1))).splitlines()[:-1]
    assert out.splitlines()[-1].split()[0] == "6"
    assert "8x8x1" in out


def test_mistakes_get_one_line(command, tmp_path):
    for arguments, message in [
        ([], "0 of --model, --config and --workdir given; allowed: one of them"),
        (["--model=rir33"], "model 'rir33' is unknown; did you mean 'rir32'?"),
        (["--model=rir32", "--image_shape=32"], "--image_shape is '32'"),
        (["--model=rir32", "--num_classes=0"], "num_classes"),
        (["--model=rir32", f"--svg={tmp_path}"], f"--svg={tmp_path} cannot be written"),
        (["--config=configs/quickstart.py", "--config.model.widths=(3,)"], "model.blocks"),
    ]:
        found = command("rir_jax.describe", *arguments)
        if "svg" not in json.dumps(arguments):  # the table is out before the picture
            assert_one_line(found, message)
        else:
            assert (found[0], message in found[2], found[2].count("\n")) == (2, True, 1)
