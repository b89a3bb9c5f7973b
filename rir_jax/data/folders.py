"""Folders of image files, whose subfolders name splits and classes."""

import logging
import os
import unicodedata
from collections.abc import Iterator

from etils import epath

from rir_jax import files
from rir_jax.errors import InputError

_log = logging.getLogger(__name__)
SPLITS = ("train", "test")
_LIKE_SPLITS = {*SPLITS, "training", "testing", "val", "valid", "validation"}
_LAYOUTS = "DIR/CLASS/*, or DIR/train/CLASS/* and DIR/test/CLASS/*, of two classes or more"


def image_files(path: epath.PathLike) -> Iterator[str]:
    """The files in a folder and in its subfolders, sorted by name, without those named ``.*``.

    The files may be of any kind. A path that is not a folder is yielded as it is, and so is a
    folder that cannot be read or has no files.

    Examples:
      >>> list(image_files("photo.jpg"))
      ['photo.jpg']
    """
    found = _walk(path, ())
    yield next(found, os.fspath(path))
    yield from found


def _walk(path, above):
    try:
        folder, real = files.path(path), os.path.realpath(path)
        children = sorted(folder.iterdir()) if folder.is_dir() else None
    except (InputError, OSError, ValueError):
        children = None
    if children is None:
        yield os.fspath(path)
    elif real not in above:  # a link may lead back
        for child in children:
            if not child.name.startswith("."):
                yield from _walk(child, (*above, real))


def labelled_files(folder: epath.PathLike) -> dict[str | None, dict[str, list[str]]]:
    """The files of each split and class, by the names of their folders.

    Args:
      folder: folder of CLASS/*, or of train/CLASS/* and test/CLASS/*.

    Returns:
      For each split, "train" and "test" or just None, the files by class, sorted by the classes'
      names. The classes of "test" are among those of "train".

    Raises:
      InputError: it is not a folder, has fewer than two classes, or the names of classes collide
        or cannot be kept.
    """
    root = files.path(folder)
    found = _folders(root)
    others = set(found) - set(SPLITS)
    if set(SPLITS) <= set(found) and others <= _LIKE_SPLITS:
        if others:
            _log.warning("left out: %s in %s", ", ".join(sorted(others)), root)
        splits: dict[str | None, dict] = {split: _folders(found[split]) for split in SPLITS}
    elif set(SPLITS) <= set(found) or (found and set(found) <= _LIKE_SPLITS):
        raise InputError(f"{root} has the folders {', '.join(found)}; allowed: {_LAYOUTS}")
    else:
        splits = {None: found}
    names = list(splits.get("train", found))
    if len(names) < 2:
        held = f"one class, {names[0]!r}" if names else "no folder of a class"
        raise InputError(f"{root} has {held}; allowed: {_LAYOUTS}")
    _check_class_names(names, root)
    for name in splits.get("test", {}):
        if name not in names:
            raise InputError(
                f"{root / 'test'} has the class {name!r}; allowed: those of {root / 'train'}"
            )
    return {
        split: {name: list(_walk(path, ())) for name, path in classes.items()}
        for split, classes in splits.items()
    }


def _folders(root):
    """The folders in a folder, by name."""
    try:
        with files.store_errors(root):
            children = sorted(root.iterdir())
            folders = [child for child in children if child.is_dir()]
    except OSError as error:
        raise InputError(f"{root} cannot be read: {error.strerror or error}") from None
    return {child.name: child for child in folders if not child.name.startswith(".")}


def _check_class_names(names, root):
    seen: dict[str, str] = {}
    for name in names:
        if name != name.strip() or not name.isprintable():
            raise InputError(
                f"class {name!r} in {root} has a name that cannot be kept; allowed: printable, "
                "without spaces at its ends"
            )
        other = seen.setdefault(unicodedata.normalize("NFKC", name).casefold(), name)
        if other != name:
            raise InputError(
                f"classes {other!r} and {name!r} in {root} collide; allowed: names that differ in "
                "more than upper and lower case"
            )
