"""Files, on a disk or in a bucket: whole writes, digests, JSON and the cache folder."""

import contextlib
import functools
import hashlib
import json
import os
import pathlib
import re
import tempfile
from typing import Any

import numpy as np
from etils import epath

_PLAIN = re.compile(r"[\w ./~+,:=@%#-]*")


def path(name: epath.PathLike) -> epath.Path:
    """A path as a user names it: ``~`` is the home folder, every other character is itself."""
    return epath.Path(name).expanduser()


def plain(path: epath.PathLike) -> epath.Path:
    """A folder on a disk by a name that every library takes.

    Orbax and TFDS take brackets for patterns, tensorstore takes backslashes for slashes, and it
    takes nothing but UTF-8. A path that may be misread is replaced by a link to it in the cache
    folder, which has the same name in all processes of a run.
    """
    text = os.fspath(path)
    if is_remote(path) or _PLAIN.fullmatch(text):
        return epath.Path(path)
    target = os.path.abspath(text)
    links = cache_root() / "links"
    try:
        links.mkdir(parents=True, exist_ok=True)
    except OSError:
        links = _scratch()
    if not _PLAIN.fullmatch(str(links)):
        links = _scratch()
    link = links / digest(os.fsencode(target))[:32]
    with contextlib.suppress(FileExistsError):
        link.symlink_to(target)
    return epath.Path(link)


@functools.cache
def _scratch():
    return pathlib.Path(tempfile.mkdtemp())


def is_remote(path: epath.PathLike) -> bool:
    """Whether a path is in an object store, such as ``gs://bucket/run``.

    Object stores have no folders, no renames and no locks; a write replaces a file whole.
    """
    return "://" in os.fspath(path)


def write(path: epath.PathLike, content: bytes) -> None:
    """Writes a file whole or not at all: beside its place, to the disk, then into place.

    Its folder is made if need be.

    Raises:
      OSError: it could not be written; what was there before still is.
    """
    path = epath.Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    if is_remote(path):
        path.write_bytes(content)
        return
    scratch = path.with_name(f".{path.name}.tmp")
    try:
        with open(scratch, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(scratch, path)
    except OSError:
        scratch.unlink(missing_ok=True)  # makes room on a full disk
        raise


def write_json(path: epath.PathLike, value: Any) -> None:
    """Writes a JSON file, indented, whole or not at all. Raises as `write`."""
    write(path, (json.dumps(value, indent=2, allow_nan=False) + "\n").encode())


def read_json(path: epath.PathLike) -> dict[str, Any]:
    """Reads a file that holds one JSON object.

    Raises:
      OSError: it is not there or cannot be read.
      ValueError: it holds something else.
    """
    try:
        value = json.loads(epath.Path(path).read_bytes())
    except RecursionError:
        raise ValueError("nested too deeply") from None
    if not isinstance(value, dict):
        raise ValueError("no JSON object")
    return value


def digest(content: bytes) -> str:
    """SHA-256 of bytes, in hexadecimal digits."""
    return hashlib.sha256(content).hexdigest()


def digest_of_json(value: Any) -> str:
    """SHA-256 of a value as JSON, whatever the order of its keys."""
    return digest(json.dumps(value, sort_keys=True).encode())


def digest_of_array(array: np.ndarray) -> str:
    """SHA-256 of an array's type, shape and bytes."""
    found = hashlib.sha256(f"{array.dtype} {array.shape} ".encode())
    found.update(np.ascontiguousarray(array).view(np.uint8).data)
    return found.hexdigest()


def cache_root() -> pathlib.Path:
    """``$RIR_JAX_CACHE``, or rir_jax in the user's cache folder."""
    if "RIR_JAX_CACHE" in os.environ:
        return pathlib.Path(os.environ["RIR_JAX_CACHE"]).expanduser()
    user = os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache"
    return pathlib.Path(user) / "rir_jax"
