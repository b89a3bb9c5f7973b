"""Image files to classes: the network's own answers, whatever the size, format or batch."""

import io
import json
import sys
import threading
import time

import jax
import numpy as np
import pytest
from PIL import Image

import rir_jax
from rir_jax import cli
from rir_jax.data.images import fit_image, read_fitted, read_image
from rir_jax.errors import InputError
from rir_jax.trained.classifier import BATCH_SIZE, Classifier, classifier
from tests.commands import assert_one_line
from tests.training.tiny import tiny_config

pytestmark = pytest.mark.slow


def _live(loaded, images):
    model, variables, info = loaded
    return np.asarray(jax.nn.softmax(model.apply(variables, info.preprocess(images))))


def test_files_get_the_probabilities_of_the_live_network(loaded, digits, digit_files):
    results = list(classifier(*loaded).predict_files(digit_files, top=10))
    expected = _live(loaded, digits[:4])
    for result, path, of_image in zip(results, digit_files, expected, strict=True):
        assert (result["image"], result["changes"]) == (str(path), "")
        found = {entry["index"]: entry["probability"] for entry in result["classes"]}
        assert [found[index] for index in range(10)] == pytest.approx(of_image.tolist(), abs=1e-5)
        in_order = [entry["probability"] for entry in result["classes"]]
        assert in_order == sorted(in_order, reverse=True)
        assert all(entry["name"] == str(entry["index"]) for entry in result["classes"])


def test_any_number_of_images_in_batches(loaded, digits):
    classify = classifier(*loaded)
    images = digits[: BATCH_SIZE + 3]
    np.testing.assert_allclose(classify(images), _live(loaded, images), atol=1e-5)
    assert classify(images[:0]).shape == (0, 10)


def test_an_image_is_cut_in_the_middle_and_resized_without_aliasing():
    image = np.zeros((40, 80, 3), np.uint8)
    image[:, 20:60] = 200
    image[::2, 20:60] = 0  # a pattern finer than the small image can show
    fitted, changes = fit_image(image, (10, 10, 3))
    assert changes == "middle 40x40 of 80x40, resized to 10x10"
    assert fitted.shape == (10, 10, 3)
    assert np.abs(fitted[1:-1].astype(int) - 100).max() <= 20, "the mean, and no black edge"


def test_colours_become_grey_only_for_a_grey_network():
    red = np.zeros((8, 8, 3), np.uint8)
    red[..., 0] = 255
    assert fit_image(red, (8, 8, 3))[0][0, 0].tolist() == [255, 0, 0]
    fitted, changes = fit_image(red, (8, 8, 1))
    assert (fitted[0, 0].tolist(), changes) == ([76], "")


@pytest.mark.parametrize("suffix", ["png", "jpg", "webp"])
def test_formats_and_sizes_on_the_command_line(command, finished, digits, tmp_path, suffix):
    path = tmp_path / f"large.{suffix}"
    large = Image.fromarray(np.squeeze(digits[0])).resize((64, 64), Image.Resampling.NEAREST)
    large.save(path, quality=95)
    code, out, _ = command("rir_jax.predict", f"--workdir={finished}", "--top=2", path)
    lines = out.splitlines()
    assert code == 0
    assert lines[0] == f"{path} (64x64 resized to 8x8)"
    assert len(lines) == 3
    assert lines[1].split()[2] == "%"
    first, second = (float(line.split()[1]) for line in lines[1:])
    assert first >= second


def test_json_for_programs(command, finished, loaded, digits, digit_files):
    code, out, err = command(
        "rir_jax.predict", f"--workdir={finished}", "--json", "--top=1", *digit_files
    )
    results = [json.loads(line) for line in out.splitlines()]
    assert (code, err) == (0, "")
    assert [result["image"] for result in results] == list(map(str, digit_files))
    best = [result["classes"][0]["index"] for result in results]
    assert best == _live(loaded, digits[:4]).argmax(axis=-1).tolist()


def test_class_names_come_with_the_checkpoint(digit_files):
    names = ("cat", "dog")
    classify = Classifier(lambda images: np.tile([0.0, 3.0], (len(images), 1)), names, (8, 8, 1))
    [result] = classify.predict_files(digit_files[:1], top=5)
    best = result["classes"]
    assert [entry["name"] for entry in best] == ["dog", "cat"]
    assert best[0]["probability"] == pytest.approx(1 / (1 + np.exp(-3)))


def test_files_are_read_upright_and_whatever_their_mode(tmp_path):
    path = tmp_path / "image.png"
    ramp = np.linspace(0, 65535, 12).astype(np.uint16).reshape(3, 4)
    Image.fromarray(ramp).save(path)
    np.testing.assert_array_equal(read_image(path)[..., 1], ramp // 256)
    Image.fromarray(
        np.dstack([np.full((2, 2, 3), 200), [[255, 0], [0, 255]]]).astype(np.uint8)
    ).save(path)
    assert read_image(path)[..., 0].tolist() == [[200, 0], [0, 200]]
    turned = Image.fromarray(np.array([[0, 255]], np.uint8))
    exif = Image.Exif()
    exif[0x0112] = 6  # orientation: turn it by 90 degrees
    turned.save(path, exif=exif)
    assert read_image(path)[..., 0].tolist() == [[0], [255]]


def test_what_is_no_image_gets_one_line(command, finished, digit_files, tmp_path):
    text = tmp_path / "text.png"
    text.write_text("not an image")
    torn = tmp_path / "torn.png"
    torn.write_bytes(digit_files[0].read_bytes()[:60])
    absent = tmp_path / "absent.png"
    empty = tmp_path / "empty"
    empty.mkdir()
    for path in (text, torn, absent, empty):
        assert_one_line(command("rir_jax.predict", f"--workdir={finished}", path), str(path))


def test_what_is_no_image_costs_the_others_nothing(command, finished, digit_files, tmp_path):
    torn, absent = tmp_path / "torn.png", tmp_path / "absent.png"
    torn.write_bytes(digit_files[0].read_bytes()[:60])
    given = [torn, digit_files[0], absent, *digit_files[1:]]
    code, out, err = command("rir_jax.predict", f"--workdir={finished}", "--json", *given)
    results = [json.loads(line) for line in out.splitlines()]
    assert (code, [result["image"] for result in results]) == (1, list(map(str, given)))
    assert ["classes" in result for result in results] == [path in digit_files for path in given]
    assert "cannot be read" in results[0]["error"]
    assert results[2]["error"] == f"image {absent} does not exist"
    assert err == "error: 2 of 6 images could not be classified; their entries say why\n"
    code, out, _ = command("rir_jax.predict", f"--workdir={finished}", "--top=1", absent, given[1])
    assert code == 1
    assert out.startswith(f"{absent}\n  image {absent} does not exist\n{given[1]}\n  ")


def test_an_image_is_answered_before_the_next_is_there(loaded, digit_files):
    answered = threading.Event()

    def paths():
        yield digit_files[0]
        assert answered.wait(60)
        yield digit_files[1]

    results = classifier(*loaded).predict_files(paths())
    assert next(results)["image"] == str(digit_files[0])
    answered.set()
    assert [result["image"] for result in results] == [str(digit_files[1])]


def test_images_are_taken_together_as_many_as_are_ready(digit_files):
    sizes, reading = [], threading.Barrier(2, timeout=60)

    def logits(images):
        if not sizes:
            reading.wait()  # until all have been asked for
            time.sleep(0.5)  # and read
        sizes.append(len(images))
        return np.zeros((len(images), 2))

    def paths():
        yield from digit_files * 20
        reading.wait()

    results = Classifier(logits, ("cat", "dog"), (8, 8, 1)).predict_files(paths())
    assert [result["image"] for result in results] == [str(path) for path in digit_files * 20]
    assert sizes[0] in (1, 8)
    assert BATCH_SIZE in sizes
    assert set(sizes) <= {1, 8, BATCH_SIZE}


def test_folders_and_names_from_a_pipe(command, finished, digit_files, tmp_path, monkeypatch):
    folder = tmp_path / "pictures"
    (folder / "more").mkdir(parents=True)
    names = [folder / "b.png", folder / "more" / "a.png", folder / "notes.txt"]
    for name, file in zip(names, digit_files, strict=False):
        name.write_bytes(file.read_bytes())
    names[2].write_text("no image")
    (folder / ".hidden.png").write_text("no image")
    (folder / "more" / "round").symlink_to(folder / "more")
    (tmp_path / "list").write_text(f"{digit_files[3]}\n{folder / 'more'}\n{digit_files[2]}")
    with open(tmp_path / "list") as listed:
        monkeypatch.setattr(sys, "stdin", listed)
        arguments = [f"--workdir={finished}", "--json", digit_files[0], folder, "-"]
        code, out, err = command("rir_jax.predict", *arguments)
    results = [json.loads(line) for line in out.splitlines()]
    given = [digit_files[0], *names, digit_files[3], names[1], digit_files[2]]
    assert [result["image"] for result in results] == list(map(str, given))
    assert ["error" in result for result in results] == [path == names[2] for path in given]
    assert (code, err) == (
        1,
        "error: 1 of 7 images could not be classified; their entries say why\n",
    )


def test_photos_of_any_size(digits, tmp_path):
    """From 1x1 to 100 megapixels, upright and by little memory."""
    classify = Classifier(lambda images: images.mean((1, 2)), ("r", "g", "b"), (8, 8, 3))
    picture = Image.fromarray(np.repeat(digits[0], 3, axis=-1)).resize((12_000, 8_400))
    exif = Image.Exif()
    exif[0x0112] = 6  # lies on its side
    picture.save(tmp_path / "large.jpg", exif=exif)
    picture.resize((6000, 4200)).save(tmp_path / "photo.png", compress_level=1)
    Image.new("RGB", (1, 1), (10, 20, 30)).save(tmp_path / "dot.png")
    Image.new("RGB", (1, 900), (10, 20, 30)).save(tmp_path / "line.jpg")
    names = ["large.jpg", "photo.png", "dot.png", "line.jpg"]
    results = list(classify.predict_files([tmp_path / name for name in names]))
    assert [result.get("changes", result) for result in results] == [
        "middle 8400x8400 of 8400x12000, resized to 8x8",
        "middle 4200x4200 of 6000x4200, resized to 8x8",
        "1x1 resized to 8x8",
        "middle 1x1 of 1x900, resized to 8x8",
    ]
    assert [result["classes"][0]["name"] for result in results[2:]] == ["b", "b"]


def test_a_photo_is_decoded_at_a_fraction_and_looks_the_same(tmp_path):
    noise = np.random.default_rng(0).integers(80, 176, (30, 40, 3), np.uint8)
    photo = Image.fromarray(noise).resize((2003, 1501), Image.Resampling.BICUBIC)
    photo.save(tmp_path / "photo.jpg", quality=95)
    fast, changes = read_fitted(tmp_path / "photo.jpg", (32, 32, 3))
    exact, same = fit_image(read_image(tmp_path / "photo.jpg"), (32, 32, 3))
    assert changes == same == "middle 1501x1501 of 2003x1501, resized to 32x32"
    differences = np.abs(fast.astype(int) - exact)
    assert 0 < differences.max() <= 3


@pytest.mark.parametrize("images", [np.zeros((3, 8, 8, 1)), np.zeros((8, 8, 1), np.uint8)])
def test_arrays_that_are_no_images_are_refused(images, loaded):
    for use in (classifier(*loaded), loaded[2].preprocess):
        with pytest.raises(InputError, match=r"^images are .* allowed: uint8 \[N, 8, 8, 1\]"):
            use(images)


@pytest.mark.parametrize(
    ("encoding", "errors", "shown"),
    [
        ("utf-8", "strict", b"d\\udcff\\u00fc".replace(b"\\u00fc", "ü".encode())),
        ("ascii", "strict", rb"d\udcff\xfc"),
        ("ascii", "surrogateescape", b"d\xff\\xfc"),
    ],
)
def test_any_name_is_printed_on_any_terminal(encoding, errors, shown, monkeypatch):
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(io.BytesIO(), encoding, errors))
    cli._print_every_name()
    print("d\udcff", "ü", sep="", end="", flush=True)
    assert sys.stdout.buffer.getvalue() == shown


def test_mistakes_get_one_line(command, finished, digit_files, tmp_path):
    image = digit_files[0]
    cases = [
        ([f"--workdir={finished}"], "no image given"),
        ([image], "0 of --workdir, --exported, --weights and --pretrained given; allowed: one"),
        ([f"--workdir={finished}", f"--weights={tmp_path}", image], "2 of --workdir"),
        ([f"--workdir={tmp_path}", image], f"workdir {tmp_path} holds no run (no config.json)"),
        ([f"--workdir={finished}", "--top=0", image], "--top=0"),
    ]
    for arguments, message in cases:
        assert_one_line(command("rir_jax.predict", *arguments), message)


def test_an_unfinished_run_is_no_finished_model(command, digit_files, tmp_path, capsys):
    config = tiny_config(train__time_limit="0.001")
    assert rir_jax.train_and_evaluate(config, tmp_path) is None
    capsys.readouterr()
    for arguments in (["rir_jax.predict", digit_files[0]], ["rir_jax.export", "--output=x"]):
        found = command(arguments[0], f"--workdir={tmp_path}", *arguments[1:])
        assert_one_line(found, f"workdir {tmp_path} holds no finished run")
