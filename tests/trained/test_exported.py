"""The exported file: the live network's logits, on any batch, without this package."""

import hashlib
import json
import subprocess
import sys

import jax
import jax.export
import numpy as np
import pytest

import rir_jax
from rir_jax.trained import exported
from tests.commands import assert_one_line

pytestmark = pytest.mark.slow

# What a server would run. Only the standard library, NumPy and JAX.
SERVE = """
import sys
import numpy as np
import jax, jax.export
function = jax.export.deserialize(open(sys.argv[1], "rb").read())
images = np.load(sys.argv[2])
logits = [function.call(batch) for batch in np.split(images, [1, 4])]
np.save(sys.argv[3], np.concatenate(logits))
ours = ("rir_jax", "flax", "orbax", "optax", "ml_collections", "etils", "absl")
print(sorted(name for name in ours if name in sys.modules))
"""
REFUSE = """
import importlib.abc, sys
class Refuse(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("rir_jax", "flax", "orbax", "optax", "etils", "ml_collections"):
            raise ImportError(f"{name} is not installed, for this test")
sys.meta_path.insert(0, Refuse())
"""


@pytest.fixture(scope="module")
def file(finished, tmp_path_factory):
    """An exported file, and what the command printed."""
    path = tmp_path_factory.mktemp("exported") / "model.jax"
    model, variables, info = rir_jax.load(finished)
    exported.write(exported.export(model, variables, info), info, path)
    return path


@pytest.fixture
def served(file, loaded, digits, tmp_path):
    """``served(python, code)`` checks the logits that a program of its own gets from the file."""
    model, variables, info = loaded
    images = digits[:9]
    np.save(tmp_path / "images.npy", images)

    def check(python, code, **options):
        arguments = [python, "-c", code, file, tmp_path / "images.npy", tmp_path / "logits.npy"]
        done = subprocess.run(
            list(map(str, arguments)), capture_output=True, text=True, timeout=120, **options
        )
        assert done.returncode == 0, done.stderr
        assert done.stdout == "[]\n"
        live = model.apply(variables, info.preprocess(images))
        np.testing.assert_allclose(np.load(tmp_path / "logits.npy"), live, atol=1e-4)

    return check


def test_it_runs_without_this_package(served):
    served(sys.executable, REFUSE + SERVE)


@pytest.mark.long
def test_it_runs_where_only_jax_and_flatbuffers_are_installed(served, bare_python, tmp_path):
    served(bare_python, SERVE, cwd=tmp_path, env={"JAX_PLATFORMS": "cpu", "PATH": ""})


def test_one_file_for_three_platforms_and_any_batch_size(file):
    function, described = exported.read(file)
    assert function.platforms == ("cpu", "cuda", "tpu")
    assert function.in_avals[0].dtype == np.uint8
    assert function.out_avals[0].dtype == np.float32
    assert described["class_names"] == tuple(str(digit) for digit in range(10))
    for size in (0, 1, 5, 17):
        assert function.call(np.zeros((size, 8, 8, 1), np.uint8)).shape == (size, 10)


def test_the_command_prints_size_and_difference(command, finished, tmp_path):
    path, folder = tmp_path / "new" / "model.jax", tmp_path / "weights"
    code, out, err = command(
        "rir_jax.export", f"--workdir={finished}", f"--output={path}", f"--weights={folder}"
    )
    assert (code, err) == (0, "")
    lines = out.splitlines()
    params = sum(leaf.size for leaf in jax.tree.leaves(rir_jax.load(finished)[1]["params"]))
    assert lines[0].startswith(f"{path}: {path.stat().st_size / 1e6:.2f} MB, {params:,} parameters")
    assert "uint8 [N, 8, 8, 1] to float32 [N, 10], for cpu, cuda, tpu" in lines[0]
    assert lines[1].startswith("largest difference from the live network: ")
    assert float(lines[1].split(": ")[1].split()[0]) < 1e-4
    assert "the same class for 100.0 % of 64 random images" in lines[1]
    assert {path.name for path in folder.iterdir()} == {
        "model.safetensors",
        "config.json",
        "README.md",
    }


def test_the_difference_is_that_of_the_networks(file, loaded):
    model, variables, info = loaded
    function, _ = exported.read(file)
    shifted = jax.tree.map(lambda leaf: leaf, variables)
    shifted["params"]["head_dense"]["bias"] = variables["params"]["head_dense"]["bias"] + 0.25
    found = exported.difference(jax.jit(function.call), model, shifted, info)
    assert found["difference"] == pytest.approx(0.25, abs=1e-3)


def test_predictions_of_the_exported_file(command, file, finished, digit_files):
    outputs = [
        command("rir_jax.predict", source, *digit_files)[1]
        for source in (f"--exported={file}", f"--workdir={finished}")
    ]
    assert outputs[0] == outputs[1]
    assert outputs[0].count("\n") == 16


def test_mistakes_get_one_line(command, file, finished, digit_files, tmp_path):
    def predict(path):
        return command("rir_jax.predict", f"--exported={path}", digit_files[0])

    assert_one_line(predict(tmp_path / "absent"), f"exported model {tmp_path / 'absent'} cannot be")
    path = tmp_path / "model.jax"
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    describing = exported.description_path(path)
    describing.write_text(exported.description_path(file).read_text())
    assert_one_line(predict(path), f"exported model {path} does not match its digest")
    described = json.loads(describing.read_text())
    describing.write_text(json.dumps({**described, "class_names": None}))
    assert_one_line(predict(path), f"{describing} is damaged")
    junk = b"not a function"
    path.write_bytes(junk)
    describing.write_text(json.dumps({**described, "sha256": hashlib.sha256(junk).hexdigest()}))
    assert_one_line(predict(path), f"{path} is not a model that JAX")
    export = ["rir_jax.export", f"--workdir={finished}"]
    assert_one_line(command(*export), "--output, --onnx and --weights are missing")
    found = command(*export, f"--output={tmp_path / 'x'}", "--platforms=gpu")
    assert_one_line(found, "platform 'gpu' is unknown; allowed: cpu, cuda, tpu, rocm")
    found = command(*export, f"--output={file / 'under a file'}")
    assert_one_line(found, "cannot be written")


def test_a_model_exported_for_another_platform(command, finished, digit_files, tmp_path):
    path = tmp_path / "model.jax"
    code, out, _ = command(
        "rir_jax.export", f"--workdir={finished}", f"--output={path}", "--platforms=tpu"
    )
    assert code == 0
    assert "not compared with the live network: this machine is none of these" in out
    found = command("rir_jax.predict", f"--exported={path}", digit_files[0])
    assert_one_line(found, f"exported model {path} is for tpu, this machine computes on cpu")
