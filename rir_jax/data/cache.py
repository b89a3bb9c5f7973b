"""A cache of decoded images on disk, which makes a second start fast.

An entry is two ``.npy`` files (never pickled) and their digests. Its key is made from the number of
the decoder and from the prepared files' names, sizes and times (in a bucket, their versions). An
entry that does not match its digests is ignored.
"""

import contextlib
import json
import os
import pathlib
import tempfile
from collections.abc import Callable

import numpy as np

from rir_jax.files import cache_root, digest, digest_of_array, version

_DECODER = "2"  # number of the decoder's version: another one's entries are ignored
_NAMES = ("images", "labels")
Arrays = tuple[np.ndarray, np.ndarray]


def arrays(folder, split: str, decode: Callable[[], Arrays]) -> Arrays:
    """Images and labels of a split of a prepared folder, from the cache or from ``decode``.

    Without a cache that can be written (a full disk, a read-only home, no home) they are decoded
    each time.
    """
    root = cache_root()
    if root is None:
        return decode()
    entry = root / "images" / f"{_key(folder)}-{split}"
    cached = _read(entry)
    if cached is not None:
        return cached
    decoded = decode()
    with contextlib.suppress(OSError):
        _write(entry, decoded)
    return decoded


def _key(folder):
    versions = [f"{path.name} {version(path)}" for path in sorted(folder.iterdir())]
    return digest(os.fsencode("\n".join([str(folder), _DECODER, *versions])))[:32]


def _read(entry):
    try:
        digests = json.loads((entry / "digests.json").read_text())
        loaded = tuple(np.load(entry / f"{name}.npy", allow_pickle=False) for name in _NAMES)
        intact = [digest_of_array(array) for array in loaded] == [digests[name] for name in _NAMES]
    except Exception:  # a damaged or hostile file may raise anything
        return None
    images, labels = loaded
    sound = (images.dtype, images.ndim, labels.dtype, labels.ndim) == (np.uint8, 4, np.int32, 1)
    return loaded if intact and sound and len(images) == len(labels) else None


def _write(entry, decoded):
    """Writes an entry beside its place and moves it there, so that it is whole or absent."""
    entry.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=entry.parent) as scratch:
        made = pathlib.Path(scratch) / "entry"
        made.mkdir()
        digests = {}
        for name, array in zip(_NAMES, decoded, strict=True):
            np.save(made / f"{name}.npy", array, allow_pickle=False)
            digests[name] = digest_of_array(array)
        (made / "digests.json").write_text(json.dumps(digests))
        if entry.exists():  # it is damaged, or another process was faster; this one is whole
            entry.rename(pathlib.Path(scratch) / "old")
        made.rename(entry)
