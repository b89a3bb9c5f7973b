"""Published networks: found by name, told from folders, checked against their digests."""

import dataclasses
import json
import logging

import numpy as np
import pytest

import rir_jax
from rir_jax.trained import pretrained
from rir_jax.trained.evaluation import evaluate
from tests.commands import assert_one_line

pytestmark = pytest.mark.slow


@pytest.fixture
def published(loaded, finished, tmp_path, monkeypatch):
    """The digits' network published as "tiny_digits", in a folder that stands for the package's."""
    measured = evaluate(finished)
    card = {"test_accuracy": measured["accuracy"], "num_correct": measured["num_correct"]}
    monkeypatch.setattr(pretrained, "FOLDER", tmp_path / "package")
    model, variables, info = loaded
    folder = tmp_path / "package" / "tiny_digits"
    rir_jax.save_pretrained(folder, model, variables, dataclasses.replace(info, card=card))
    return folder


def test_a_published_network_is_read_by_its_name(published, loaded):
    model, variables, info = rir_jax.from_pretrained("tiny_digits")
    assert model == loaded[0]
    np.testing.assert_array_equal(
        variables["params"]["stem_conv"]["kernel"], loaded[1]["params"]["stem_conv"]["kernel"]
    )
    assert rir_jax.list_pretrained() == {"tiny_digits": info.card["test_accuracy"]}


def test_an_unknown_name_gets_the_near_ones_and_the_list(command, published, digit_files):
    for flag in ("pretrained", "weights"):
        found = command("rir_jax.predict", f"--{flag}=tiny_digit", digit_files[0])
        assert_one_line(found, "did you mean 'tiny_digits'? allowed: tiny_digits")


def test_a_folder_of_that_name_comes_first_and_says_so(published, tmp_path, monkeypatch, caplog):
    (tmp_path / "tiny_digits").mkdir()
    assert pretrained.find("tiny_digits") == published
    monkeypatch.chdir(tmp_path)
    with caplog.at_level(logging.WARNING):
        assert str(pretrained.find("tiny_digits")) == "tiny_digits"
    assert "read from the folder of that name, not from the package" in caplog.text
    assert str(pretrained.find("absent/tiny_digits")) == "absent/tiny_digits"


def test_a_damaged_file_is_found_by_its_digest(command, published, digit_files):
    weights = published / "model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    found = command("rir_jax.predict", "--pretrained=tiny_digits", digit_files[0])
    assert_one_line(found, f"{weights} does not match the digest in config.json")


def test_the_commands_take_it(command, published, finished, digit_files, tmp_path):
    code, out, _ = command("rir_jax.evaluate", "--pretrained=tiny_digits")
    result, card = json.loads(out), rir_jax.from_pretrained("tiny_digits")[2].card
    assert code == 0
    assert result["num_correct"] == card["num_correct"] > 0
    assert result["accuracy"] == card["test_accuracy"]
    assert (result["split"], result["model"], result["dataset"]) == (
        "test",
        "tiny_digits",
        "digits",
    )
    exported = tmp_path / "tiny.jax"
    arguments = ["--pretrained=tiny_digits", f"--output={exported}", "--platforms=cpu"]
    assert command("rir_jax.export", *arguments)[0] == 0
    sources = (f"--exported={exported}", "--pretrained=tiny_digits", f"--workdir={finished}")
    outputs = [command("rir_jax.predict", source, *digit_files)[1] for source in sources]
    assert outputs[0] == outputs[1] == outputs[2]
    assert outputs[0].count("\n") == 16


def test_a_data_set_of_other_classes_is_refused(command, published):
    path = published / "config.json"
    described = json.loads(path.read_text())
    path.write_text(json.dumps({**described, "class_names": list("abcdefghij")}))
    found = command("rir_jax.evaluate", "--pretrained=tiny_digits")
    assert_one_line(
        found, "dataset 'digits' is not what the network tiny_digits was trained on: its cl"
    )


def test_a_command_works_on_one_network(command, digit_files):
    both = ["--workdir=run", "--pretrained=rir32_cifar10"]
    for module, more in [("predict", [digit_files[0]]), ("evaluate", []), ("export", [])]:
        assert_one_line(command(f"rir_jax.{module}", *both, *more), "2 of --workdir")
        assert_one_line(command(f"rir_jax.{module}", *more), "0 of --workdir")


def test_what_is_published_says_how_it_was_made_and_is_small():
    for name, accuracy in rir_jax.list_pretrained().items():
        model, _, info = rir_jax.from_pretrained(name)
        card = info.card
        assert card["model"] + "_" + card["dataset"] == name
        assert (card["seed"], card["license"], card["num_examples"]) == (0, "Apache-2.0", 10_000)
        assert accuracy == card["num_correct"] / 10_000
        assert {"recipe", "commit", "device", "command", "epochs"} <= set(card)
        assert len(info.class_names) == model.num_classes
    weights = pretrained.FOLDER.glob("*/*")
    assert sum(path.stat().st_size for path in weights) <= 16e6
