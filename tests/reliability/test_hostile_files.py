"""Files that mean harm: refused in one line, with nothing of theirs run and little memory taken."""

import io
import json
import os
import pathlib
import pickle
import shutil
import struct
import tracemalloc
import zlib

import numpy as np
import pytest
from PIL import Image

from rir_jax.data import cache, images
from rir_jax.errors import InputError, RunError
from rir_jax.files import digest_of_array
from rir_jax.runs.checkpoints import Checkpoints
from tools.harness import state_of

# What orbax could not read, it complains of to the interpreter when that tidies up.
pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.usefixtures("tidy"),
]


class Payload:
    """When unpickled, makes a folder."""

    def __init__(self, trace):
        self.trace = str(trace)

    def __reduce__(self):
        return os.mkdir, (self.trace,)


def png(width, height, data=b""):
    """A PNG of grey levels with any size in its header and any compressed data."""

    def chunk(kind, body):
        checksum = zlib.crc32(kind + body)
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", checksum)

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    parts = chunk(b"IHDR", header), chunk(b"IDAT", data), chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA", "P", "1"])
@pytest.mark.parametrize("kind", ["PNG", "WEBP"])
def test_an_image_of_any_mode_becomes_rgb(mode, kind, tmp_path):
    Image.new(mode, (5, 3), 0).save(tmp_path / "image", format=kind)
    image = images.read_image(tmp_path / "image")
    assert (image.shape, image.dtype) == ((3, 5, 3), np.uint8)


def test_an_image_has_its_pixels(tmp_path):
    expected = np.random.default_rng(0).integers(0, 256, (4, 6, 3), np.uint8)
    Image.fromarray(expected).save(tmp_path / "image.png")
    np.testing.assert_array_equal(images.read_image(tmp_path / "image.png"), expected)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        # 100 megapixels of zeros, in 100 KB.
        (png(10_000, 10_000, zlib.compress(bytes(10_001 * 10_000))), r"10000 x 10000; allowed: up"),
        (png(2**31 - 1, 2**31 - 1), r"cannot be read: Image size"),
        (b"just a text\n", r"is not an image; allowed: PNG, JPEG, WEBP"),
        (b"", r"is not an image"),
        (png(64, 64, zlib.compress(bytes(65 * 64))[:20]), r"cannot be read"),
        (b"GIF89a" + bytes(100), r"is not an image"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", r"is not an image"),
        (pickle.dumps([1]), r"is not an image"),
    ],
    ids=["bomb", "huge", "text", "empty", "truncated", "gif", "postscript", "pickle"],
)
def test_what_is_no_harmless_image_is_refused(content, message, tmp_path):
    path = tmp_path / "image.png"
    path.write_bytes(content)
    tracemalloc.start()
    with pytest.raises(InputError, match=message) as error:
        images.read_image(path)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert "\n" not in str(error.value)
    assert str(path) in str(error.value)
    assert peak < 10e6


def jpeg(width, height):
    """A JPEG of any size in its header, with nearly nothing in it."""
    file = io.BytesIO()
    Image.new("L", (8, 8)).save(file, "JPEG", progressive=True)
    content = bytearray(file.getvalue())
    start = content.index(b"\xff\xc2") + 5
    content[start : start + 4] = struct.pack(">HH", height, width)
    return bytes(content)


@pytest.mark.parametrize(
    "content",
    [jpeg(13_000, 13_000), png(10_000, 10_000, zlib.compress(bytes(10_001 * 10_000)))],
    ids=["jpeg", "png"],
)
def test_what_is_fitted_has_bounds_too(content, tmp_path):
    (tmp_path / "image").write_bytes(content)
    tracemalloc.start()
    with pytest.raises(
        InputError, match=r"0 x 1\d000; allowed: up to 33,554,432 pixels, of a JPEG"
    ):
        images.read_fitted(tmp_path / "image", (32, 32, 3))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 10e6


def test_a_missing_image_or_a_folder(tmp_path):
    with pytest.raises(InputError, match="does not exist"):
        images.read_image(tmp_path / "absent.png")
    with pytest.raises(InputError, match="cannot be read"):
        images.read_image(tmp_path)


@pytest.fixture
def entry(tmp_path, monkeypatch):
    """A cache entry as it should be, and how to read it again."""
    monkeypatch.setenv("RIR_JAX_CACHE", str(tmp_path / "cache"))
    folder = tmp_path / "data"
    folder.mkdir()
    good = np.arange(48, dtype=np.uint8).reshape(1, 4, 4, 3), np.array([7], np.int32)
    decoded = []

    def read():
        from etils import epath

        return cache.arrays(epath.Path(folder), "train", lambda: decoded.append(1) or good)

    read()
    (made,) = (tmp_path / "cache/images").iterdir()
    return made, read, decoded


def test_a_cached_array_is_read_and_not_decoded_again(entry):
    _, read, decoded = entry
    read()
    assert len(decoded) == 1


def object_array(path, trace):
    np.save(path, np.array([Payload(trace)], object), allow_pickle=True)


def bare_pickle(path, trace):
    path.write_bytes(pickle.dumps(Payload(trace)))


def huge_header(path, trace):
    header = "{'descr': '|u1', 'fortran_order': False, 'shape': (1099511627776, 4, 4, 3), }\n"
    path.write_bytes(b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header.encode())


def empty(path, trace):
    path.write_bytes(b"")


@pytest.mark.parametrize("harm", [object_array, bare_pickle, huge_header, empty])
def test_a_hostile_cached_array_is_decoded_anew_and_runs_nothing(harm, entry, tmp_path):
    made, read, decoded = entry
    harm(made / "images.npy", tmp_path / "trace")
    arrays, _ = read()
    assert arrays.shape == (1, 4, 4, 3)
    assert len(decoded) == 2
    assert not (tmp_path / "trace").exists()


def test_cached_arrays_of_other_shapes_are_decoded_anew_though_digests_match(entry):
    made, read, decoded = entry
    wrong = np.zeros((3, 3), np.float64)
    np.save(made / "images.npy", wrong)
    digests = json.loads((made / "digests.json").read_text())
    (made / "digests.json").write_text(json.dumps({**digests, "images": digest_of_array(wrong)}))
    assert read()[0].dtype == np.uint8
    assert len(decoded) == 2


@pytest.mark.slow
def test_a_pickle_in_place_of_any_file_of_a_checkpoint_runs_nothing(reference, tmp_path, caplog):
    reference = pathlib.Path(reference)
    files = [path for path in (reference / "checkpoints/66").rglob("*") if path.is_file()]
    for number, name in enumerate(files):
        workdir = shutil.copytree(reference, tmp_path / f"{number}")
        victim = workdir / name.relative_to(reference)
        victim.write_bytes(pickle.dumps(Payload(tmp_path / "trace")))
        state_of(workdir)
        assert not (tmp_path / "trace").exists()
    # The others are files that are not read.
    assert caplog.text.count("checkpoints/66 is damaged") >= 4


@pytest.mark.slow
def test_a_checkpoint_that_is_one_pickle_is_refused(setup, tmp_path):
    (tmp_path / "checkpoints/5").mkdir(parents=True)
    (tmp_path / "checkpoints/5/state").write_bytes(pickle.dumps(Payload(tmp_path / "trace")))
    with pytest.raises(RunError, match="are damaged"):
        Checkpoints(tmp_path / "checkpoints").restore(lambda notes: setup.engine.abstract_state())
    assert not (tmp_path / "trace").exists()
