"""Decoded images on disk, so that a second start reads them in a moment.

A cache entry is two ``.npy`` files (never pickled) and their digests. It is keyed by the decoder
and the prepared files' names, sizes and times (in a bucket by their versions), and left aside when
it does not match them.
"""

import contextlib
import json
import os
import pathlib
import tempfile
from collections.abc import Callable

import numpy as np

from rir_jax.files import cache_root, digest, digest_of_array, version

_DECODER = "2"  # of the code that decodes: what another one has decoded is not read
Arrays = tuple[np.ndarray, np.ndarray]


def arrays(folder, split: str, decode: Callable[[], Arrays]) -> Arrays:
    """Images and labels of a split of a prepared folder, decoded at most once.

    A cache that cannot be written (a full disk, a read-only home, none) is done without.
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
    described = [str(folder), _DECODER]
    for path in sorted(folder.iterdir()):
        described.append(f"{path.name} {version(path)}")
    return digest(os.fsencode("\n".join(described)))[:32]


def _read(entry):
    try:
        digests = json.loads((entry / "digests.json").read_text())
        loaded = tuple(np.load(entry / f"{name}.npy", allow_pickle=False) for name in _NAMES)
        intact = [digest_of_array(array) for array in loaded] == [digests[name] for name in _NAMES]
    except Exception:  # whatever a damaged or hostile file makes its readers raise
        return None
    images, labels = loaded
    sound = (images.dtype, images.ndim, labels.dtype, labels.ndim) == (np.uint8, 4, np.int32, 1)
    return loaded if intact and sound and len(images) == len(labels) else None


_NAMES = ("images", "labels")


def _write(entry, decoded):
    """Writes an entry beside its place and moves it there, so that it is whole or absent."""
    entry.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=entry.parent) as scratch:
        made = pathlib.Path(scratch) / "entry"
        made.mkdir()
        for name, array in zip(_NAMES, decoded, strict=True):
            np.save(made / f"{name}.npy", array, allow_pickle=False)
        digests = {name: digest_of_array(a) for name, a in zip(_NAMES, decoded, strict=True)}
        (made / "digests.json").write_text(json.dumps(digests))
        if entry.exists():  # damaged, or another process was faster: either way ours is whole
            entry.rename(pathlib.Path(scratch) / "old")
        made.rename(entry)
