"""Files and folders, on a disk or in a bucket: whole writes, digests, JSON and the cache folder.

A bucket (``gs://``, through gcsfs) has no folders, no renames and no locks. In their place:

* A *folder* exists while an object's name begins with its name and a slash; the first file makes
  it. Listings always ask the store, because gcsfs's cache misses what orbax writes.
* A *file* is replaced by one upload, which readers see whole or not at all. On a disk a rename
  does the same.
* A *folder that is written whole*, a checkpoint, is complete once it has a `MARK`, which orbax
  writes last. Deleting removes the mark first and copying writes it last, so a kill leaves no mark
  on half a folder. On a disk a rename makes such a folder appear and disappear. Digests in each
  checkpoint show whether its content is unchanged.
* A *lock* is a lease, an object that its holder keeps renewing (`rir_jax.runs.lease`).

All functions raise an OSError if the disk or the store fails.
"""

import contextlib
import errno
import functools
import hashlib
import json
import logging
import os
import pathlib
import re
import tempfile
import threading
from collections.abc import Iterator
from typing import Any

import numpy as np
from etils import epath

from rir_jax import extras
from rir_jax.errors import InputError

MARK = "commit_success.txt"
"""Orbax's name for the last file of a checkpoint in a bucket."""
SILENCE = 60
"""Seconds without a byte after which a request to a store is made again."""

_BUCKETS = "gs://"
_TRASH = ".trash"  # end of the name of a folder that is being deleted, on a disk
_HALF_WRITTEN = ".orbax-checkpoint-tmp"  # part of the name of a folder that is being written
_PLAIN = re.compile(r"[\w ./~+,:=@%#-]*")  # a path that every library reads correctly


def path(name: epath.PathLike) -> epath.Path:
    """A path on a disk, with ``~`` expanded, or in a bucket, ``gs://BUCKET/NAME``.

    Raises:
      InputError: the path is in a store of another kind, or gcsfs is missing.
    """
    text = os.fspath(name)
    scheme = re.match(r"\w[\w+.-]+://", text)
    if scheme is not None:
        if scheme[0] != _BUCKETS or text.strip("/") == "gs:":
            raise InputError(f"{text} is in no store that is known; allowed: gs://BUCKET/NAME")
        extras.require(text, "gcsfs")
        _set_up_gcsfs()
    return epath.Path(text).expanduser()


def plain(path: epath.PathLike) -> epath.Path:
    """A folder on a disk by a name that every library reads correctly.

    Orbax and TFDS read brackets as patterns; tensorstore reads backslashes as slashes, and only
    UTF-8. A path that may be misread is replaced by a link to it in the cache folder, which has
    the same name in all processes of a run.
    """
    text = os.fspath(path)
    if is_remote(path) or _PLAIN.fullmatch(text):
        return epath.Path(path)
    target = os.path.abspath(text)
    links = (cache_root() or _scratch()) / "links"
    with contextlib.suppress(OSError):
        links.mkdir(parents=True, exist_ok=True)
    if not links.is_dir() or not _PLAIN.fullmatch(str(links)):
        links = _scratch()
    link = links / digest(os.fsencode(target))[:32]
    with contextlib.suppress(FileExistsError):
        link.symlink_to(target)
    return epath.Path(link)


@functools.cache
def _scratch():
    return pathlib.Path(tempfile.mkdtemp())


def is_remote(path: epath.PathLike) -> bool:
    """Whether a path is in a bucket."""
    return os.fspath(path).startswith(_BUCKETS)


@functools.cache
def _set_up_gcsfs():
    """Sets the libraries up before their first use, because they keep what they find then."""
    import aiohttp
    import fsspec

    settings = fsspec.config.conf.setdefault("gcs", {})
    settings["use_listings_cache"] = False
    # Without these, an answer that is lost on the way is waited for without end.
    silence = aiohttp.ClientTimeout(sock_connect=SILENCE, sock_read=SILENCE)
    settings.setdefault("requests_timeout", silence)
    os.environ.setdefault("TENSORSTORE_CURL_LOW_SPEED_TIME_SECONDS", str(SILENCE))
    os.environ.setdefault("TENSORSTORE_CURL_LOW_SPEED_LIMIT_BYTES", "1")
    # Otherwise etils imports TensorFlow, if it is installed, and goes through it.
    os.environ.setdefault("EPATH_USE_TF", "0")
    # These libraries also print the errors that they raise, each retry with a traceback.
    for name in ("gcsfs", "google.auth"):
        logging.getLogger(name).setLevel(logging.CRITICAL)


def store() -> Any:
    """The gcsfs file system that etils uses too, for requests that epath does not offer."""
    _set_up_gcsfs()
    import fsspec

    return fsspec.filesystem("gcs", finalize_on_close=True)


@contextlib.contextmanager
def store_errors(path: epath.PathLike) -> Iterator[None]:
    """Turns any error of gcsfs about a path in a bucket into an OSError of one line."""
    try:
        yield
    except FileNotFoundError:  # of gcsfs: with nothing but the address of its request
        if not is_remote(path):
            raise
        absent = os.strerror(errno.ENOENT)
        raise FileNotFoundError(errno.ENOENT, absent, os.fspath(path)) from None
    except Exception as error:
        if not is_remote(path) or isinstance(error, FileExistsError):
            raise
        text = " ".join(str(error).split())[:300] or type(error).__name__
        if isinstance(error, OSError) and error.strerror:
            text = f"the store cannot be reached: {error.strerror}"
        if getattr(error, "code", None) in (401, "401"):
            text += "; log in with: gcloud auth application-default login"
        raise OSError(text) from error


def check_bucket(path: epath.Path) -> None:
    """Raises an OSError if a path is in a bucket that does not exist or cannot be read."""
    if is_remote(path):
        bucket, _, name = os.fspath(path)[len(_BUCKETS) :].partition("/")
        with store_errors(path):
            try:
                store().call("GET", "b/{}/o", bucket, prefix=f"{name}/", maxResults=1)
            except FileNotFoundError:
                raise OSError(f"there is no bucket {_BUCKETS}{bucket}; make it first") from None


def make_folder(path: epath.Path) -> None:
    """Makes a folder on a disk, with its parents; does nothing in a bucket."""
    if not is_remote(path):
        path.mkdir(parents=True, exist_ok=True)


def whole_folders(parent: epath.Path) -> list[epath.Path]:
    """The folders in a folder that were written whole and have not been deleted."""
    return [child for child, whole in _children(parent).items() if whole]


def leftovers(parent: epath.Path) -> list[epath.Path]:
    """The folders in a folder that are half written or half deleted."""
    return [child for child, whole in _children(parent).items() if not whole]


def _is_leftover(folder):
    return folder.name.endswith(_TRASH) or _HALF_WRITTEN in folder.name


def _children(parent):
    """The folders in a folder, and whether each is whole."""
    if not is_remote(parent):
        found = parent.iterdir() if parent.exists() else ()
        return {child: not _is_leftover(child) for child in found}
    children: dict[epath.Path, bool] = {}
    for name in _names(parent):
        child, _, rest = name.partition("/")
        if rest:
            children[parent / child] = children.get(parent / child, False) or rest == MARK
    return children


def _names(folder):
    """The files below a folder of a bucket, by their paths relative to it."""
    root = os.fspath(folder)[len(_BUCKETS) :]
    with store_errors(folder):
        found = store().find(root)
    return [name[len(root) + 1 :] for name in found if name.startswith(f"{root}/")]


def remove_folder(folder: epath.Path) -> None:
    """Deletes a folder that was written whole; after a kill, `leftovers` lists the rest."""
    if not is_remote(folder):
        if not _is_leftover(folder):
            folder = folder.rename(folder.with_name(folder.name + _TRASH))
        folder.rmtree()
        return
    with store_errors(folder):
        for name in sorted(_names(folder), key=lambda name: name != MARK):
            with contextlib.suppress(FileNotFoundError):  # a retry after a lost answer
                store().rm_file(os.fspath(folder / name))


def move_folder(folder: epath.Path, target: epath.Path) -> None:
    """Moves a folder that was written whole onto the target. After a failure it is still there."""
    if not is_remote(folder):
        target.parent.mkdir(parents=True, exist_ok=True)
        if target.exists():
            target.rmtree()
        folder.rename(target)
        return
    remove_folder(target)
    with store_errors(folder):
        for name in sorted(_names(folder), key=lambda name: name == MARK):
            store().cp_file(os.fspath(folder / name), os.fspath(target / name))
    remove_folder(folder)


def write(path: epath.PathLike, content: bytes) -> None:
    """Writes a file whole or not at all, and makes its folder. A failure keeps an earlier file."""
    path = epath.Path(path)
    if is_remote(path):
        with store_errors(path):
            store().pipe_file(os.fspath(path), content)
        return
    make_folder(path.parent)
    if path.exists() and not path.is_file():  # a pipe or a device
        path.write_bytes(content)
        return
    # Each thread has its own name, because others may be writing the same file.
    scratch = path.with_name(f".{os.getpid()}-{threading.get_ident()}.tmp")
    try:
        with open(scratch, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(scratch, path)
    except OSError:
        scratch.unlink(missing_ok=True)  # makes room on a full disk
        raise


@contextlib.contextmanager
def refused_writes(place: object) -> Iterator[None]:
    """Turns a failed write to a place that the user chose into an InputError that names it."""
    try:
        yield
    except OSError as error:
        raise InputError(f"{place} cannot be written: {error}") from None


def read(path: epath.PathLike) -> bytes:
    """The content of a file; raises a FileNotFoundError if there is none."""
    if is_remote(path):
        with store_errors(path):
            return store().cat_file(os.fspath(path))
    return epath.Path(path).read_bytes()


def version(path: epath.Path) -> str:
    """A text that changes whenever the file is written: its size and time, or its generation."""
    if is_remote(path):
        with store_errors(path):
            return str(store().info(os.fspath(path)).get("generation"))
    described = os.stat(path)
    return f"{described.st_size} {int(described.st_mtime)}"


def write_json(path: epath.PathLike, value: Any) -> None:
    """Writes a JSON file, indented, whole or not at all."""
    write(path, (json.dumps(value, indent=2, allow_nan=False) + "\n").encode())


def read_json(path: epath.PathLike) -> dict[str, Any]:
    """Reads a file of one JSON object; raises a ValueError if it holds something else."""
    try:
        value = json.loads(read(path))
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


def cache_root() -> pathlib.Path | None:
    """``$RIR_JAX_CACHE``, or rir_jax in the user's cache folder; None if the user has no home."""
    if "RIR_JAX_CACHE" in os.environ:
        return pathlib.Path(os.environ["RIR_JAX_CACHE"]).expanduser()
    try:
        user = os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache"
    except RuntimeError:
        return None
    return pathlib.Path(user) / "rir_jax"
