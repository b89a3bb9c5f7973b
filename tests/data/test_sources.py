"""Data sets: the digits' fixed split, prepared TFDS folders, the cache, and what is refused."""

import hashlib
import json
import os
import pickle

import numpy as np
import pytest
from etils import epath

from rir_jax.data import cache, dataset, sources
from rir_jax.errors import InputError
from tests.data.prepared import prepared


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    return folder, prepared(folder)


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("RIR_JAX_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_digits_are_split_the_same_for_ever():
    digits = sources.load("digits")
    assert (len(digits.train), len(digits.held_out)) == (1442, 355)
    assert digits.train.images.dtype == np.uint8
    assert digits.image_shape == (8, 8, 1)
    shares = np.bincount(digits.held_out.labels) / np.bincount(digits.train.labels)
    np.testing.assert_allclose(shares, 0.25, atol=0.01)
    content = digits.held_out.images.tobytes() + digits.held_out.labels.tobytes()
    assert hashlib.sha256(content).hexdigest()[:16] == "3f53dde2e1e7e8a5"


def test_prepared_sets_are_read_as_they_were_written(data_dir):
    folder, written = data_dir
    loaded = sources.load("cifar10", str(folder))
    assert loaded.held_out_name == "test"
    assert len(loaded.class_names) == 10
    for split, name in ((loaded.train, "train"), (loaded.held_out, "test")):
        images, labels = written[name]
        # TFDS shuffles the examples as it writes: compare them as a set.
        read = {
            (i.tobytes(), int(label)) for i, label in zip(split.images, split.labels, strict=True)
        }
        assert read == {(i.tobytes(), int(label)) for i, label in zip(images, labels, strict=True)}
    np.testing.assert_allclose(loaded.mean, written["train"][0].mean((0, 1, 2)))
    np.testing.assert_allclose(loaded.std, written["train"][0].std((0, 1, 2)))


def test_a_second_load_decodes_nothing_and_a_damaged_cache_is_decoded_again(
    data_dir, own_cache, monkeypatch
):
    folder, _ = data_dir
    decoded = []
    decode = sources._decode
    monkeypatch.setattr(
        sources,
        "_decode",
        lambda builder, split, *a: decoded.append(split) or decode(builder, split, *a),
    )
    first = sources.load("cifar10", str(folder))
    second = sources.load("cifar10", str(folder))
    assert decoded == ["train", "test"]
    np.testing.assert_array_equal(first.train.images, second.train.images)
    (train_entry,) = (own_cache / "images").glob("*-train")
    content = bytearray((train_entry / "images.npy").read_bytes())
    content[-1] ^= 1
    (train_entry / "images.npy").write_bytes(content)
    third = sources.load("cifar10", str(folder))
    assert decoded == ["train", "test", "train"]
    np.testing.assert_array_equal(first.train.images, third.train.images)


def test_a_pickle_in_the_cache_is_not_run(data_dir, own_cache):
    folder, _ = data_dir
    sources.load("cifar10", str(folder))
    (entry,) = (own_cache / "images").glob("*-train")
    evil = np.array([_Evil(str(own_cache / "was_here"))], dtype=object)
    with open(entry / "images.npy", "wb") as file:
        np.lib.format.write_array(file, evil, allow_pickle=True)
    assert len(sources.load("cifar10", str(folder)).train) == 20
    assert not (own_cache / "was_here").exists()
    with open(entry / "evil.npy", "wb") as file:
        np.lib.format.write_array(file, evil, allow_pickle=True)
    np.load(entry / "evil.npy", allow_pickle=True)
    assert (own_cache / "was_here").exists(), "the pickle would have run"


class _Evil:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (self.path,)


def test_an_unprepared_set_says_how_to_prepare_it_and_makes_no_folder(tmp_path):
    with pytest.raises(InputError, match=r"'cifar10' is not prepared in .*rir_jax.prepare --data"):
        sources.load("cifar10", str(tmp_path / "data"))
    assert not (tmp_path / "data").exists()


def test_another_file_format_is_named(tmp_path):
    folder = tmp_path / "cifar10" / "3.0.2"
    folder.mkdir(parents=True)
    (folder / "dataset_info.json").write_text(json.dumps({"fileFormat": "tfrecord"}))
    with pytest.raises(InputError, match="is in format tfrecord, not array_record; prepare it"):
        sources.load("cifar10", str(tmp_path))


@pytest.mark.parametrize("name", ["../etc", "", ".hidden"])
def test_names_that_are_no_set_are_refused(name, tmp_path):
    with pytest.raises(InputError, match="allowed: 'digits' or the name of a TFDS set"):
        sources.load(name, str(tmp_path))


def test_validation_split_is_held_out_of_training_and_stratified():
    whole, held = sources.load("digits"), sources.load("digits", validation_fraction=0.1)
    assert held.held_out_name == "validation"
    assert len(held.train) + len(held.held_out) == len(whole.train)
    images = {image.tobytes() for image in held.held_out.images}
    assert not images & {image.tobytes() for image in whole.held_out.images}
    shares = np.bincount(held.held_out.labels) / np.bincount(whole.train.labels)
    np.testing.assert_allclose(shares, 0.1, atol=0.005)
    with pytest.raises(InputError, match=r"validation_fraction is 0.0001; of the 1442 training"):
        sources.load("digits", validation_fraction=0.0001)


def test_channel_statistics_are_exact():
    images = np.random.default_rng(0).integers(0, 256, (7, 5, 5, 3)).astype(np.uint8)
    images[..., 2] = 9  # no variation: a deviation of 1, so that dividing is harmless
    mean, std = dataset.channel_statistics(images)
    np.testing.assert_allclose(mean, images.mean((0, 1, 2)), rtol=1e-13)
    np.testing.assert_allclose(std[:2], images.std((0, 1, 2))[:2], rtol=1e-12)
    assert std[2] == 1


def test_cache_that_cannot_be_written_is_done_without(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("RIR_JAX_CACHE", str(tmp_path / "file"))
    arrays = (np.zeros((1, 2, 2, 1), np.uint8), np.zeros(1, np.int32))
    assert cache.arrays(epath.Path(tmp_path), "train", lambda: arrays) is arrays


def test_evil_is_evil(tmp_path):
    """The stand-in for a hostile pickle does what such a one does."""
    pickle.loads(pickle.dumps(_Evil(str(tmp_path / "was_here"))))
    assert (tmp_path / "was_here").exists()
