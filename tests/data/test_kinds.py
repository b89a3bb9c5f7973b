"""Sets that are not what they say they are: their images become what predict sees, or one line."""

import io
import shutil

import numpy as np
import pytest
import tensorflow_datasets as tfds
from PIL import Image

from rir_jax.data import sources
from rir_jax.data.images import as_images, fit_image, read_image
from rir_jax.errors import InputError
from tests.data.prepared import make_set, png

COLOURS = np.random.default_rng(0).integers(0, 256, (8, 8, 3), np.uint8)
DEEP = COLOURS[..., 0].astype(np.uint16) * 256 + 13


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("RIR_JAX_CACHE", str(tmp_path / "cache"))


def _cmyk():
    file = io.BytesIO()
    Image.fromarray(COLOURS).convert("CMYK").save(file, "JPEG", quality=95)
    return file


KINDS = {
    "RGB": lambda: png(COLOURS),
    "RGBA": lambda: png(np.dstack([COLOURS, COLOURS[..., 0]])),
    "CMYK": _cmyk,
    "palette": lambda: png(Image.fromarray(COLOURS).quantize(16)),
    "one bit": lambda: png(Image.fromarray(COLOURS).convert("1")),
    "grey": lambda: png(COLOURS[..., 0]),
    "grey and alpha": lambda: png(Image.fromarray(COLOURS).convert("LA")),
    "16 bits": lambda: png(DEEP),
}


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("kind", KINDS)
def test_a_set_has_the_pixels_that_predict_sees_in_its_files(kind, channels, tmp_path):
    file = KINDS[kind]()
    make_set(tmp_path / "data", [file, file], shape=(8, 8, channels))
    loaded = sources.load("bars", tmp_path / "data")
    (tmp_path / "image").write_bytes(file.getvalue())
    seen, _ = fit_image(read_image(tmp_path / "image"), (8, 8, channels))
    assert loaded.image_shape == (8, 8, channels)
    np.testing.assert_array_equal(loaded.train.images[0], seen)
    assert np.ptp(seen) > 100


@pytest.mark.parametrize("cached", [False, True])
@pytest.mark.parametrize("wrong", [-1, 2])
def test_labels_that_are_no_class_are_refused(wrong, cached, tmp_path, monkeypatch):
    # TFDS checks labels as it writes, but for -1: 2 classes are declared after writing 3.
    file = png(COLOURS)
    make_set(tmp_path, [file] * 3, labels=(0, 1, wrong), names=("lying", "upright", "other"))
    (info,) = tmp_path.glob("bars/*/label.labels.txt")
    info.write_text("lying\nupright\n")
    features = info.with_name("features.json")
    features.write_text(features.read_text().replace('"numClasses": "3"', '"numClasses": "2"'))
    for _ in range(1 + cached):
        with pytest.raises(InputError) as error:
            sources.load("bars", tmp_path)
        assert str(error.value).startswith(
            f"'train' of dataset 'bars' has 1 labels of 3 outside its 2 classes, the "
            f"first is {wrong}; allowed: 0 to 1"
        )


@pytest.mark.parametrize("channels", [2, 4])
def test_channels_that_no_image_file_has_are_refused(channels, tmp_path):
    make_set(tmp_path, [png(COLOURS)] * 2, shape=(8, 8, channels))
    message = rf"'bars' has images of {channels} channels; allowed: 1 \(grey\) or 3 \(RGB\)"
    with pytest.raises(InputError, match=message):
        sources.load("bars", tmp_path)


@pytest.mark.parametrize(
    ("files", "shape", "message"),
    [
        ([COLOURS, COLOURS[:4]], (None, None, 3), r"is \(.*\); allowed: \(.*\), one size for all"),
        ([COLOURS, COLOURS], (9, 9, 3), r"'bars' is \(8, 8, 3\); allowed: \(9, 9, 3\), one size"),
    ],
)
def test_images_of_other_sizes_are_refused(files, shape, message, tmp_path):
    make_set(tmp_path, [png(file) for file in files], shape=shape)
    with pytest.raises(InputError, match=message):
        sources.load("bars", tmp_path)


def test_a_damaged_image_is_named(tmp_path):
    torn = io.BytesIO(png(COLOURS).getvalue()[:60])
    make_set(tmp_path, [torn, torn])
    with pytest.raises(InputError, match=r"^image 0 in 'train' of dataset 'bars' cannot be read"):
        sources.load("bars", tmp_path)


@pytest.mark.parametrize(
    ("feature", "kind", "message"),
    [
        ("label", np.int64, "'label' is a Tensor; allowed: a tfds.features.ClassLabel"),
        ("label", None, "'label' is none; allowed: a tfds.features.ClassLabel"),
        ("image", tfds.features.Text(), "'image' is a Text; allowed: a tfds.features.Image"),
        ("image", tfds.features.Image(dtype=np.uint16), "has images of uint16; allowed: uint8"),
    ],
)
def test_features_of_another_kind_are_refused(feature, kind, message):
    features = {
        "image": tfds.features.Image(shape=(8, 8, 3)),
        "label": tfds.features.ClassLabel(names=["lying", "upright"]),
        feature: kind,
    }
    features = {name: value for name, value in features.items() if value is not None}
    with pytest.raises(InputError, match=message):
        sources.described("bars", tfds.features.FeaturesDict(features))


def test_a_set_with_a_config_has_it_in_its_name(tmp_path):
    for config in ("big", "v1.0-small"):
        make_set(tmp_path, [png(COLOURS)] * 2, config=config)
    assert sources.load("bars/v1.0-small", tmp_path).name == "bars/v1.0-small"
    with pytest.raises(InputError, match=r"with a config; allowed: bars/big, bars/v1\.0-small"):
        sources.load("bars", tmp_path)
    with pytest.raises(InputError, match="'bars/other' is not prepared"):
        sources.load("bars/other", tmp_path)


@pytest.mark.parametrize(
    "name", ["d[1]", "d*", "d?", "d\\e", "{a,b}", "d\udcff", "d\ne", "~d", "ü"]
)
def test_prepared_sets_lie_in_folders_of_any_name(name, tmp_path):
    make_set(tmp_path / "plain", [png(COLOURS)] * 2)
    shutil.copytree(tmp_path / "plain", tmp_path / name)
    assert len(sources.load("bars", str(tmp_path / name)).train) == 2
    assert {path.name for path in tmp_path.iterdir()} == {"plain", name, "cache"}


IMAGES = np.random.default_rng(0).integers(0, 256, (3, 8, 8, 1), np.uint8)


@pytest.mark.parametrize(
    "images",
    [
        (IMAGES / 255).astype(np.float32),
        IMAGES.astype(np.int64),
        IMAGES.astype(np.uint16) * 257,
        IMAGES > 128,
        IMAGES[0],
        IMAGES[..., 0],
        np.zeros((3, 9, 9, 1), np.uint8),
        IMAGES.repeat(3, axis=-1),
        IMAGES.tolist(),
        [IMAGES[0], IMAGES[0, 1:]],
        IMAGES.astype(object),
    ],
)
def test_arrays_that_are_no_images_are_refused(images):
    with pytest.raises(InputError, match=r"^images are "):
        as_images(images, (8, 8, 1))


def test_arrays_of_images_are_taken_as_they_are():
    assert as_images(IMAGES, (8, 8, 1)) is IMAGES
    np.testing.assert_array_equal(as_images(list(IMAGES), (8, 8, 1)), IMAGES)
