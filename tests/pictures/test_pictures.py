"""Pictures after an evaluation, and what TensorBoard shows."""

import io
import json

import numpy as np
import pytest
from PIL import Image
from tensorboardX.proto.event_pb2 import Event
from tensorboardX.proto.layout_pb2 import Layout
from tensorboardX.proto.plugin_hparams_pb2 import HParamsPluginData

import rir_jax
from rir_jax.data import sources
from rir_jax.pictures import curves, mistakes
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


@pytest.mark.slow
def test_the_matrix_is_drawn_with_and_without_numbers():
    few = _pixels(draw_confusion(confusion_matrix(LABELS, LABELS, 3), NAMES, "few"))
    empty = _pixels(draw_confusion(np.zeros((3, 3), int), NAMES, "few"))
    assert few.shape == empty.shape
    assert (few != empty).any(axis=-1).mean() > 0.05, "coloured cells"
    many = [str(number) for number in range(100)]
    assert _pixels(draw_confusion(np.eye(100, dtype=int), many, "many")).shape[0] > few.shape[0]


def test_a_dollar_in_a_class_name_is_a_dollar():
    """To Matplotlib, what is between two of them is a formula, and may be a wrong one."""
    names = ("$5", r"$\wrong{$", "five $")
    priced = draw_confusion(confusion_matrix(LABELS, LABELS, 3), names, "prices")
    assert _pixels(priced).shape[0] > 100
    images = np.zeros((5, 8, 8, 1), np.uint8)
    assert _pixels(draw_mistakes(images, LABELS, PROBABILITIES, names, "prices")).shape[0] > 100


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
    assert len(none) < 150, "a word and no panels"


@pytest.mark.parametrize("count", [1, 5, 7, 30])
def test_there_are_as_many_panels_as_mistakes(count, monkeypatch):
    drawn = []
    monkeypatch.setattr(mistakes, "png", lambda figure: drawn.append(figure) or b"")
    labels, images = np.zeros(40, int), np.zeros((40, 8, 8, 1), np.uint8)
    probabilities = np.tile([0.9, 0.1, 0.0], (40, 1))
    probabilities[:count] = [0.2, 0.8, 0.0]
    draw_mistakes(images, labels, probabilities, NAMES, "title")
    assert len(drawn[0].axes) == min(count, 24)
    assert all(axes.images for axes in drawn[0].axes)


def test_one_mistake_in_a_thousand_is_seen_and_classes_have_their_accuracy(monkeypatch):
    matrix = np.diag([1000, 999, 0])
    matrix[1, 2] = 1
    drawn = []
    monkeypatch.setattr(mistakes, "png", lambda figure: drawn.append(figure) or b"")
    draw_confusion(matrix, NAMES, "title")
    axes = drawn[0].axes[0]
    right, wrong = axes.images
    assert wrong.get_array()[1, 2] >= 0.25
    assert wrong.get_array().count() == 1, "no other cell has a tint"
    assert right.get_array().count() == 3
    [beside] = axes.child_axes
    texts = [label.get_text() for label in beside.get_yticklabels()]
    assert texts == ["100.0 %", "99.9 %", "none"]


@pytest.mark.parametrize("accuracies", [[0.5, 0.99, 1.0], [0.1, 0.4, 0.41], [0.4, 0.41], [1.0]])
def test_curves_show_every_accuracy_at_whole_epochs(accuracies, monkeypatch):
    drawn = []
    monkeypatch.setattr(curves, "png", lambda figure: drawn.append(figure) or b"")
    records = [
        {"step": 11 * epoch, "epoch": epoch, "split": "test", "loss": 1.0, "accuracy": accuracy}
        for epoch, accuracy in enumerate(accuracies, 1)
    ]
    curves.draw_curves(records, "title", [])
    drawn[0].canvas.draw()
    axes = drawn[0].axes[1]
    assert axes.get_ylabel() == "accuracy, %"
    [line] = axes.get_lines()
    pixels = axes.transData.transform(line.get_xydata())
    assert np.isfinite(pixels).all(), "no error at all has its place"
    low, high = axes.transData.transform([(1, limit) for limit in axes.get_ylim()])[:, 1]
    assert ((pixels[:, 1] > low) & (pixels[:, 1] < high)).all()
    assert (np.diff(pixels[:, 1]) > 0).all()
    assert all(float(tick).is_integer() for tick in axes.get_xticks())
    assert len(axes.get_yticks()) >= 1


@pytest.mark.parametrize(
    ("losses", "numbers"), [([6.0, 1.2, 0.02], {"0.1", "1"}), ([2.3, 1.9], {"2"})]
)
def test_losses_are_plain_numbers(losses, numbers, monkeypatch):
    drawn = []
    monkeypatch.setattr(curves, "png", lambda figure: drawn.append(figure) or b"")
    records = [
        {"step": 11 * epoch, "epoch": epoch, "split": "test", "loss": loss, "accuracy": 0.5}
        for epoch, loss in enumerate(losses, 1)
    ]
    curves.draw_curves(records, "title", [])
    drawn[0].canvas.draw()
    axis = drawn[0].axes[0].yaxis
    texts = {label.get_text() for label in axis.get_ticklabels(which="both")} - {""}
    assert numbers <= texts
    assert not [text for text in texts if "e" in text]


@pytest.mark.slow
def test_evaluate_draws_into_the_workdir(command, workdir):
    code, out, err = command("rir_jax.evaluate", f"--workdir={workdir}", "--nopictures")
    assert (code, err) == (0, "")
    assert not (workdir / "confusion.png").exists()
    code, with_pictures, err = command("rir_jax.evaluate", f"--workdir={workdir}")
    assert (code, err) == (0, f"confusion.png and mistakes.png are in {workdir}\n")
    assert out == with_pictures
    result = json.loads(out)
    assert result["num_examples"] == 355
    right = [result["class_accuracy"][str(digit)] for digit in range(10)]
    counts = np.bincount(sources.load("digits").held_out.labels)
    assert np.dot(right, counts) == pytest.approx(result["num_correct"])
    assert result["accuracy"] < result["top5_accuracy"] <= 1
    for name in ("confusion.png", "mistakes.png", "curves.png"):
        with Image.open(workdir / name) as picture:
            assert picture.width > 400


def _events(folder):
    """The events of all files of a folder (TFRecord framing: length, crc, data, crc)."""
    for path in sorted(folder.iterdir()):
        content, position = path.read_bytes(), 0
        while position < len(content):
            length = int.from_bytes(content[position : position + 8], "little")
            yield Event.FromString(content[position + 12 : position + 12 + length])
            position += 16 + length


@pytest.mark.slow
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


@pytest.mark.slow
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
