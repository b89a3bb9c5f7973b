"""Model cards: a hub's own library reads them, and the folder that it downloads is read back."""

import dataclasses
import inspect
import pathlib

import chex
import huggingface_hub
import pytest

import rir_jax
from rir_jax.trained.load import load_finished

pytestmark = pytest.mark.slow


@pytest.fixture
def folder(finished, tmp_path):
    rir_jax.save_pretrained(tmp_path / "weights", *load_finished(finished))
    return tmp_path / "weights"


def test_the_hubs_library_reads_the_card(folder, finished):
    info = load_finished(finished)[2]
    card = huggingface_hub.ModelCard.load(folder / "README.md")
    assert card.data.library_name == "rir_jax"
    assert card.data.pipeline_tag == "image-classification"
    assert "resnet-in-resnet" in card.data.tags
    [result] = card.data.eval_results
    assert (result.metric_type, result.metric_value) == ("accuracy", info.card["test_accuracy"])
    assert (result.dataset_name, result.dataset_split) == ("digits", "test")
    assert card.data.model_name == "rir32 on digits"
    assert "`uint8 [N, 8, 8, 1]` and tells 10 classes: 0, 1, 2," in card.text
    assert str(info.card["num_params"]) in card.text


def test_a_card_of_any_names(loaded, tmp_path):
    model, variables, info = loaded
    names = ["\u00fc: #", "a'b", 'c"d', "\U0001f600", *"456789"]
    odd = dataclasses.replace(
        info, class_names=names, dataset="my: 'set'", card={"license": "MIT", "test_accuracy": 0.5}
    )
    rir_jax.save_pretrained(tmp_path, model, variables, odd)
    card = huggingface_hub.ModelCard.load(tmp_path / "README.md")
    assert (card.data.license, card.data.eval_results[0].dataset_name) == ("mit", "my: 'set'")
    rir_jax.save_pretrained(tmp_path, model, variables, dataclasses.replace(odd, card=None))
    card = huggingface_hub.ModelCard.load(tmp_path / "README.md")
    assert (card.data.license, card.data.eval_results) == (None, None)


def test_what_a_download_leaves_is_read_back(folder, finished, tmp_path):
    """As snapshot_download lays it: links into a store of blobs, with the hub's own file."""
    snapshot = tmp_path / "snapshots" / "0123abcd"
    snapshot.mkdir(parents=True)
    for number, path in enumerate(sorted(folder.iterdir())):
        (tmp_path / f"blob{number}").write_bytes(path.read_bytes())
        (snapshot / path.name).symlink_to(tmp_path / f"blob{number}")
    (snapshot / ".gitattributes").write_text("*.safetensors filter=lfs\n")
    model, variables, info = rir_jax.from_pretrained(str(snapshot))
    expected = load_finished(finished)
    assert (model, info.class_names) == (expected[0], expected[2].class_names)
    chex.assert_trees_all_equal(variables, expected[1], strict=True)


def test_the_calls_of_the_page_are_the_librarys():
    page = pathlib.Path(rir_jax.__file__).parents[1] / "docs" / "howto" / "export.md"
    assert 'upload_folder(repo_id="OWNER/NAME", folder_path="runs/weights")' in page.read_text()
    upload = inspect.signature(huggingface_hub.upload_folder)
    upload.bind(repo_id="OWNER/NAME", folder_path="runs/weights")
    assert 'snapshot_download("OWNER/NAME")' in page.read_text()
    inspect.signature(huggingface_hub.snapshot_download).bind("OWNER/NAME")
