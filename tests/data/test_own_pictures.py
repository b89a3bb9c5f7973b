"""Folders of pictures as prepared sets: what predict sees, split for ever; mistakes in one line."""

import collections
import sys
import time

import numpy as np
import pytest
from PIL import Image

from rir_jax.data import own_pictures, sources
from rir_jax.data.images import read_fitted
from rir_jax.errors import InputError
from tests.commands import assert_one_line


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("RIR_JAX_CACHE", str(tmp_path / "cache"))


def _picture(path, seed):
    """A photo of its own size and kind."""
    random = np.random.default_rng(seed)
    pixels = random.integers(0, 256, (random.integers(20, 90), random.integers(20, 90), 3))
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels.astype(np.uint8)).save(path)


def _by_class(root, counts):
    for number, (name, count) in enumerate(counts.items()):
        for index in range(count):
            kind = ("jpg", "png", "webp")[index % 3]
            _picture(root / name / f"{index}.{kind}", 100 * number + index)
    return root


def _seen(split):
    return {
        (image.tobytes(), int(label))
        for image, label in zip(split.images, split.labels, strict=True)
    }


def _fitted(paths, size=16):
    return {(read_fitted(path, (size, size, 3))[0].tobytes(), label) for path, label in paths}


def test_folders_by_class_are_split_by_class_and_hold_what_predict_sees(command, tmp_path):
    root = _by_class(tmp_path / "photos", {"cat": 20, "dog": 10, "wild boar": 5})
    (root / "cat" / "notes.txt").write_text("no image")
    (root / "dog" / "torn.png").write_bytes(b"\x89PNG")
    (root / "dog" / ".DS_Store").write_text("hidden")
    code, out, err = command(
        "rir_jax.prepare", f"--images={root}", "--dataset=pets", f"--data_dir={tmp_path / 'data'}",
        "--image_size=16", "--test_fraction=0.2",
    )  # fmt: skip
    assert code == 0
    assert out.splitlines() == [
        f"pets is prepared in {tmp_path / 'data' / 'pets' / '1.0.0'}: 3 classes, 28 train and "
        "7 test images of 16x16 pixels",
        f"2 skipped, as no images: {root / 'cat' / 'notes.txt'}, {root / 'dog' / 'torn.png'}",
    ]
    lines = err.splitlines()
    assert len(lines) == 2
    assert all(line.startswith("skipped: ") for line in lines), "and no bar off a terminal"
    assert f"skipped: image {root / 'cat' / 'notes.txt'} is not an image" in err
    loaded = sources.load("pets", str(tmp_path / "data"))
    assert loaded.class_names == ("cat", "dog", "wild boar")
    assert collections.Counter(loaded.held_out.labels.tolist()) == {0: 4, 1: 2, 2: 1}
    paths = [
        (path, label)
        for label, name in enumerate(loaded.class_names)
        for path in (root / name).glob("[0-9]*")
    ]
    assert _seen(loaded.train) | _seen(loaded.held_out) == _fitted(paths)
    assert not _seen(loaded.train) & _seen(loaded.held_out)


def test_a_terminal_shows_how_far_it_is(tmp_path, capsys, monkeypatch):
    root = _by_class(tmp_path / "photos", {"cat": 6, "dog": 6})
    read = own_pictures.read_fitted
    monkeypatch.setattr(own_pictures, "read_fitted", lambda *a: time.sleep(0.1) or read(*a))
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    own_pictures.prepare(root, "pets", str(tmp_path / "data"), 8)
    assert "100%|" in capsys.readouterr().err


def test_the_split_is_the_same_wherever_the_folder_is(tmp_path):
    found = []
    for place in ("here", "there"):
        root = _by_class(tmp_path / place, {"cat": 9, "dog": 9})
        data_dir = str(tmp_path / f"{place}-data")
        own_pictures.prepare(root, "pets", data_dir, 8, 0.3)
        found.append(sources.load("pets", data_dir))
    for split in ("train", "held_out"):
        one, other = (getattr(dataset, split) for dataset in found)
        np.testing.assert_array_equal(one.images, other.images)
        np.testing.assert_array_equal(one.labels, other.labels)


def test_few_pictures_change_sides_when_some_are_added(tmp_path):
    tests = []
    for count in (30, 31):
        root = _by_class(tmp_path / "photos", {"cat": count, "dog": 10})
        own_pictures.prepare(root, "pets", str(tmp_path / f"{count}"), 8, 0.3)
        tests.append(_seen(sources.load("pets", str(tmp_path / f"{count}")).held_out))
    assert [len(of_one) for of_one in tests] == [12, 12]
    assert len(tests[0] & tests[1]) >= 11


def test_folders_that_say_which_are_for_testing(tmp_path):
    root = tmp_path / "photos"
    _by_class(root / "train", {"cat": 4, "dog": 3})
    _by_class(root / "test", {"dog": 2})
    _by_class(root / "val", {"dog": 2})
    made = own_pictures.prepare(root, "pets", str(tmp_path / "data"), 16)
    assert (made.counts, made.skipped) == ({"train": 7, "test": 2}, ())
    loaded = sources.load("pets", str(tmp_path / "data"))
    assert _seen(loaded.held_out) == _fitted((p, 1) for p in (root / "test" / "dog").iterdir())


def _train_without_test(root):
    _by_class(root / "train", {"cat": 1, "dog": 1})
    _by_class(root / "val", {"cat": 1, "dog": 1})


def _unknown_test_class(root):
    _by_class(root / "train", {"cat": 1, "dog": 1})
    _by_class(root / "test", {"cow": 1})


def _splits_beside_classes(root):
    _by_class(root, {"train": 1, "test": 1, "cow": 1})


MISTAKES = {
    "both": (_splits_beside_classes, "has the folders cow, test, train; allowed: DIR/CLASS/*, or"),
    "absent": (lambda root: None, "cannot be read: No such file"),
    "no class": (lambda root: _picture(root / "a.png", 0), "has no folder of a class; allowed"),
    "one class": (lambda root: _by_class(root, {"cat": 3}), "has one class, 'cat'; allowed: DIR"),
    "no test": (_train_without_test, "has the folders train, val; allowed: DIR/CLASS/*, or DIR"),
    "other class": (_unknown_test_class, "has the class 'cow'; allowed: those of"),
    "case": (
        lambda root: _by_class(root, {"Cat": 1, "cat": 1}),
        "classes 'Cat' and 'cat' in ROOT collide; allowed: names that differ in more",
    ),
    "unicode": (lambda root: _by_class(root, {"\u00e9": 1, "e\u0301": 1}), "collide; allowed"),
    "space": (lambda root: _by_class(root, {"cat ": 1, "dog": 1}), "class 'cat ' in ROOT has"),
    "line": (lambda root: _by_class(root, {"c\nat": 1, "dog": 1}), "class 'c\\nat' in ROOT has"),
    "empty class": (
        lambda root: _by_class(root, {"cat": 5, "dog": 0}) and (root / "dog").mkdir(),
        "class 'dog' in ROOT has no image to train on",
    ),
    "too few": (
        lambda root: _by_class(root, {"cat": 2, "dog": 2}),
        "ROOT has no image to test on; allowed: one or more (a larger --test_fraction",
    ),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistakes_get_one_line_and_write_nothing(mistake, tmp_path):
    make, message = MISTAKES[mistake]
    root, data = tmp_path / "photos", tmp_path / "data"
    make(root)
    with pytest.raises(InputError) as error:
        own_pictures.prepare(root, "pets", str(data))
    assert message.replace("ROOT", str(root)) in str(error.value)
    assert not data.exists()


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("digits", "is the name of another set; allowed: one of your own"),
        ("cifar10", "is the name of another set; allowed: one of your own"),
        ("My Pets", "is not a valid name; allowed: lower-case letters, digits and _"),
        ("pets", "is prepared already, in"),
    ],
)
def test_names_that_are_taken_or_none(name, message, command, tmp_path):
    root, data = _by_class(tmp_path / "photos", {"cat": 6, "dog": 6}), tmp_path / "data"
    own_pictures.prepare(root, "pets", str(data), 8)
    arguments = [f"--images={root}", f"--dataset={name}", f"--data_dir={data}"]
    assert_one_line(command("rir_jax.prepare", *arguments), f"dataset {name!r} {message}")


def test_a_set_that_tfds_does_not_know_leads_to_own_pictures(command, tmp_path):
    found = command("rir_jax.prepare", "--dataset=photos", f"--data_dir={tmp_path}")
    assert_one_line(found, "'photos' is unknown to TFDS; allowed: see its catalog, or --images=")


@pytest.mark.parametrize(
    ("name", "hint"), [("cifar_10", " (did you mean 'cifar10'?)"), ("pictures", "")]
)
def test_another_set_is_suggested_if_its_name_is_nearly_the_same(name, hint, tmp_path):
    with pytest.raises(InputError) as error:
        sources.load(name, tmp_path)
    assert f"TFDS has no such set{hint}; prepare pictures of your own" in str(error.value)


def test_flags_out_of_range(command, tmp_path):
    arguments = ["rir_jax.prepare", f"--images={tmp_path}", "--dataset=pets"]
    assert_one_line(command(*arguments, "--test_fraction=1.5"), "test_fraction is 1.5; allowed")
    assert_one_line(command(*arguments, "--image_size=0"), "--image_size=0")


def test_a_folder_that_cannot_be_written_to(command, tmp_path):
    root = _by_class(tmp_path / "photos", {"cat": 6, "dog": 6})
    (tmp_path / "file").write_text("")
    arguments = [f"--images={root}", "--dataset=pets", f"--data_dir={tmp_path / 'file'}"]
    code, out, err = command("rir_jax.prepare", *arguments)
    assert (code, out) == (1, "")
    assert err.splitlines()[-1].startswith("error: dataset 'pets' could not be prepared in")
