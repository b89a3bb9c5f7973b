"""Pictures after an evaluation, and what TensorBoard shows."""

import io

import numpy as np
import pytest
from PIL import Image
from tensorboardX.proto.event_pb2 import Event
from tensorboardX.proto.layout_pb2 import Layout
from tensorboardX.proto.plugin_hparams_pb2 import HParamsPluginData

import rir_jax
from rir_jax.pictures.examples import example_images
from rir_jax.pictures.mistakes import confusion_matrix, draw_confusion, draw_mistakes
from tests.training.tiny import tiny_config

NAMES = ("zero", "one", "two")
LABELS = np.array([0, 0, 1, 1, 2])
PROBABILITIES = np.array(
    [[0.9, 0.1, 0.0], [0.2, 0.8, 0.0], [0.0, 1.0, 0.0], [0.0, 0.05, 0.95], [0.1, 0.1, 0.8]]
)


@pytest.fixture(scope="module")
def workdir(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pictures") / "run"
    rir_jax.train_and_evaluate(tiny_config(), folder)
    return folder


def _pixels(png):
    return np.asarray(Image.open(io.BytesIO(png)).convert("RGB"), int)


def test_rows_of_the_confusion_matrix_are_the_true_classes():
    matrix = confusion_matrix(LABELS, PROBABILITIES.argmax(axis=1), 3)
    assert matrix.tolist() == [[1, 1, 0], [0, 1, 1], [0, 0, 1]]


def test_the_matrix_is_drawn_with_and_without_numbers():
    few = _pixels(draw_confusion(confusion_matrix(LABELS, LABELS, 3), NAMES, "few"))
    empty = _pixels(draw_confusion(np.zeros((3, 3), int), NAMES, "few"))
    assert few.shape == empty.shape
    assert (few != empty).any(axis=-1).mean() > 0.05, "coloured cells"
    many = [str(number) for number in range(100)]
    assert _pixels(draw_confusion(np.eye(100, dtype=int), many, "many")).shape[0] > few.shape[0]


@pytest.mark.parametrize("channels", [1, 3])
def test_the_worst_mistakes_are_drawn(channels):
    images = np.full((5, 8, 8, channels), 120, np.uint8)
    images[3] = 30  # the more certain of the two mistakes
    drawn = _pixels(draw_mistakes(images, LABELS, PROBABILITIES, NAMES, "title"))
    columns = {value: np.nonzero((drawn == value).all(axis=-1))[1] for value in (30, 120)}
    assert np.median(columns[30]) < np.median(columns[120]), "the worst comes first"
    right = PROBABILITIES[[0, 2, 4]]
    none = _pixels(draw_mistakes(images[:3], LABELS[[0, 2, 4]], right, NAMES, "title"))
    assert (none == 120).all(axis=-1).sum() < 1000 < len(columns[120])


@pytest.mark.slow
def test_evaluate_draws_into_the_workdir(command, workdir):
    code, out, err = command("rir_jax.evaluate", f"--workdir={workdir}", "--nopictures")
    assert (code, err) == (0, "")
    assert not (workdir / "confusion.png").exists()
    code, with_pictures, err = command("rir_jax.evaluate", f"--workdir={workdir}")
    assert (code, err) == (0, f"confusion.png and mistakes.png are in {workdir}\n")
    assert out == with_pictures
    for name in ("confusion.png", "mistakes.png", "curves.png"):
        assert Image.open(workdir / name).width > 400


def _events(folder):
    """The events of all files of a folder (TFRecord framing: length, crc, data, crc)."""
    for path in sorted(folder.iterdir()):
        content, position = path.read_bytes(), 0
        while position < len(content):
            length = int.from_bytes(content[position : position + 8], "little")
            yield Event.FromString(content[position + 12 : position + 12 + length])
            position += 16 + length


def test_tensorboard_has_config_scalars_and_example_images(workdir):
    found = {}
    for event in _events(workdir / "tensorboard"):
        for value in event.summary.value:
            found.setdefault(value.tag, []).append(value)
    assert {"train/loss", "test/accuracy", "train/learning_rate"} <= set(found)
    [text] = found["config/text_summary"]
    assert "| `optimizer.learning_rate` | 0.05 |" in text.tensor.string_val[0].decode()
    assert "test/images_per_second" not in found, "it is of training"
    [image] = found["examples"]
    picture = Image.open(io.BytesIO(image.image.encoded_image_string))
    assert picture.size == (8 * 72, 2 * 72)


def test_tensorboard_sorts_runs_and_shows_both_splits_in_one_chart(workdir):
    metadata = {
        value.tag: value
        for event in _events(workdir / "tensorboard")
        for value in event.summary.value
    }

    def hparams(tag):
        content = metadata[f"_hparams_/{tag}"].metadata.plugin_data.content
        return getattr(HParamsPluginData.FromString(content), tag)

    session = hparams("session_start_info").hparams
    assert session["optimizer.learning_rate"].number_value == 0.05
    assert session["model.widths"].string_value == "(4, 8)"
    assert "model.head" not in session, "unset"
    metrics = [info.name.tag for info in hparams("experiment").metric_infos]
    assert metrics == ["test/loss", "test/accuracy"]
    layout = Layout.FromString(metadata["custom_scalars__config__"].tensor.string_val[0])
    tags = [list(chart.multiline.tag) for chart in layout.category[0].chart]
    assert tags == [["train/loss", "test/loss"], ["train/accuracy", "test/accuracy"]]


def test_examples_are_images_above_what_augmentation_makes_of_them():
    images = np.arange(8 * 64, dtype=np.uint8).reshape(8, 8, 8, 1)
    grid = example_images(images, 2, flip=True, seed=0)
    above, below = grid[:72], grid[72:]
    np.testing.assert_array_equal(above[4:68:8, 4:68:8], images[0])
    assert (above != below).any()
    plain = example_images(images, 0, flip=False, seed=0)
    np.testing.assert_array_equal(plain[:72], plain[72:])
