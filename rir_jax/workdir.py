"""The folder of a run: which config it is of, who writes to it, and whether it is finished."""

import contextlib
import json
import os
from typing import Any

import ml_collections
from etils import epath

from rir_jax import config as configs
from rir_jax.errors import InputError

try:
    import fcntl
except ImportError:  # no POSIX: runs on one folder are not kept apart
    fcntl = None


class Workdir:
    """Paths and small files of one run. Any path that etils knows, ``gs://`` too.

    Attributes:
      path: the folder.
    """

    def __init__(self, path: epath.PathLike):
        self.path = epath.Path(path).expanduser()

    def __truediv__(self, name: str) -> epath.Path:
        return self.path / name

    def summary(self) -> dict[str, Any] | None:
        """What summary.json holds, or None while the run is not finished."""
        return _read_json(self / "summary.json")

    def config(self) -> ml_collections.ConfigDict | None:
        """The config that the run was started with, or None in a fresh folder."""
        values = _read_json(self / "config.json")
        return None if values is None else configs.from_flat(values)

    def check(self, config: ml_collections.ConfigDict) -> None:
        """Checks that the folder is fresh, or of a run of this very config. Writes nothing.

        Raises:
          InputError: it is of another config (with the fields that differ), or no folder.
        """
        if self.path.exists() and not self.path.is_dir():
            raise InputError(f"workdir {self.path} is a file; allowed: a folder, or a new one")
        earlier = self.config()
        if earlier is None:
            return
        old, new = configs.flatten(earlier), configs.flatten(config)
        differing = [
            f"{field} was {old[field]!r}, now {new[field]!r}"
            for field in new
            if old[field] != new[field] and field not in configs.INERT_FIELDS
        ]
        if differing:
            raise InputError(
                f"workdir {self.path} holds a run of another config ({'; '.join(differing)}); "
                "allowed: the same config, or another workdir"
            )

    def open(self, config: ml_collections.ConfigDict) -> None:
        """Makes the folder and writes config.json, if it is fresh.

        Raises:
          InputError: the folder is of another config or cannot be written to.
        """
        self.check(config)
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            if not (self / "config.json").exists():
                self.write_json("config.json", configs.flatten(config))
        except OSError as error:
            raise InputError(f"workdir {self.path} cannot be written to: {error}") from None

    @contextlib.contextmanager
    def lock(self):
        """Keeps other processes of this machine off the folder. Freed even by ``kill -9``.

        Raises:
          InputError: another process has it.
        """
        if fcntl is None or "://" in str(self.path):
            yield
            return
        with open(self / ".lock", "w") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                raise InputError(
                    f"workdir {self.path} is in use by another process; wait for it, or choose "
                    "another workdir"
                ) from None
            yield

    def write_json(self, name: str, value: Any) -> None:
        """Writes a JSON file whole or not at all."""
        self.write_bytes(name, (json.dumps(value, indent=2, allow_nan=False) + "\n").encode())

    def write_bytes(self, name: str, content: bytes) -> None:
        """Writes a file whole or not at all: beside its place, to the disk, then into place."""
        if "://" in str(self.path):
            (self / name).write_bytes(content)  # an object store's writes are atomic
            return
        scratch = self / f".{name}.tmp"
        with open(scratch, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(scratch, self / name)


def _read_json(path):
    try:
        text = path.read_text()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error}") from None
    try:
        return json.loads(text)
    except ValueError as error:
        raise InputError(f"{path} is no JSON file: {error}") from None
