"""The folder of a run: its config, its lock, its small files, and whether it is finished."""

import contextlib
import errno
import logging
import math
from typing import Any

import jax
import ml_collections
from etils import epath

from rir_jax import config as configs
from rir_jax import config_fields, files
from rir_jax.devices import processes
from rir_jax.errors import InputError, RunError
from rir_jax.runs.lease import Lease

try:
    import fcntl
except ImportError:  # no POSIX: runs on one folder are not kept apart
    fcntl = None  # type: ignore[assignment]

_log = logging.getLogger(__name__)
_HELD = (errno.EWOULDBLOCK, errno.EACCES)  # POSIX's errors for a lock that another process holds


class Workdir:
    """The folder of one run and its small files, on a disk or in a bucket (``gs://``).

    Attributes:
      path: the folder's path.

    Raises:
      InputError: the path is empty or in a bucket that cannot be reached; from methods that read,
        a file is damaged.
      RunError: from methods that write, a file could not be written.
    """

    def __init__(self, path: epath.PathLike):
        if not str(path) or "\0" in str(path):
            raise InputError(f"workdir is {str(path)!r}; allowed: the path of a folder")
        try:
            self.path = files.path(path)
            files.check_bucket(self.path)
            self.path.exists()
        except Exception as error:  # too long a path, no package for gs://, no access, ...
            raise InputError(f"workdir {path} cannot be used: {error}") from None
        self._lease: Lease | None = None
        if str(self.path).startswith("~"):
            raise InputError(f"workdir is {str(path)!r}; allowed: ~ or ~USER of a user")

    def __truediv__(self, name: str) -> epath.Path:
        return self.path / name

    def summary(self) -> dict[str, Any] | None:
        """The content of summary.json; None while the run is not finished."""
        return _read_json(self / "summary.json")

    def finished(self, config: ml_collections.ConfigDict) -> bool:
        """Whether the run has reached the config's epochs, which may be more than at its start."""
        summary = self.summary()
        return summary is not None and summary.get("epochs") == config.train.epochs

    def config(self) -> ml_collections.ConfigDict | None:
        """The config that the run was started with; None in a fresh folder."""
        values = _read_json(self / "config.json")
        try:
            return None if values is None else configs.from_flat(values)
        except InputError as error:
            raise InputError(f"{self / 'config.json'}: {error}") from None

    def config_of_run(self) -> ml_collections.ConfigDict:
        """The config that the run was started with; an InputError in a fresh folder."""
        config = self.config()
        if config is None:
            raise InputError(f"workdir {self.path} holds no run (no config.json)")
        return config

    def check(self, config: ml_collections.ConfigDict) -> None:
        """Checks that the folder is fresh or holds a run of this config. Writes nothing.

        Raises:
          InputError: it is a file, or holds a run of another config; names the differing fields.
        """
        if not files.is_remote(self.path) and self.path.exists() and not self.path.is_dir():
            raise InputError(f"workdir {self.path} is a file; allowed: a folder, or a new one")
        earlier = self.config()
        if earlier is not None:
            values = configs.flatten(config)
            check_same(values, configs.flatten(earlier), f"workdir {self.path}")

    @contextlib.contextmanager
    def open(self, config: ml_collections.ConfigDict):
        """Makes the folder and keeps other runs out of it while it is entered.

        Process 0 takes the lock; the others get its result or its error. A lock on a disk holds
        on one machine (and on NFS), and even ``kill -9`` frees it; in a bucket it is a `Lease`.

        Raises:
          InputError: the folder is in use, holds a run of another config, or cannot be written to.
        """
        failure = None
        with contextlib.ExitStack() as stack:
            if processes.is_main_process():
                try:
                    files.make_folder(self.path)
                    stack.enter_context(self._lock())
                    self.check(config)
                except InputError as error:
                    failure = error
                except OSError as error:
                    failure = InputError(f"workdir {self.path} cannot be written to: {error}")
            self._agree(config, failure)
            yield

    def _agree(self, config, failure):
        """Raises in every process if opening failed in one, or if they do not have one run."""
        opened = processes.agree_all(failure is None)
        if failure is not None:
            raise failure
        if not opened:
            raise InputError(f"workdir {self.path}: refused by process 0, which says why")
        fingerprint = int(files.digest_of_json(configs.flatten(config))[:7], 16)
        if len(set(processes.gather(fingerprint))) > 1:
            raise InputError("the processes were given different configs; allowed: one for all")
        if not self.path.exists():
            raise InputError(
                f"workdir {self.path} is not there in process {jax.process_index()}; allowed: a "
                "folder that all processes share, such as gs:// or NFS"
            )

    @contextlib.contextmanager
    def _lock(self):
        if files.is_remote(self.path):
            with Lease(self.path) as self._lease:
                yield
            self._lease = None
        elif fcntl is None:
            yield
        else:
            with open(self / ".lock", "w") as file:
                self._flock(file)
                yield

    def _flock(self, file):
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno in _HELD:
                raise InputError(
                    f"workdir {self.path} is in use by another process; wait for it, or choose "
                    "another workdir"
                ) from None
            _log.warning(
                "workdir %s is on a file system without locks (%s): a second run on it would not "
                "be noticed",
                *(self.path, error.strerror),
            )

    def check_held(self) -> None:
        """Raises a RunError if another run has taken the folder over, as may happen in a bucket."""
        if self._lease is not None:
            with write_errors(self / ".lease"):
                self._lease.check()

    def write_config(self, values: dict[str, Any]) -> None:
        """Writes config.json from a flat config, unless it is there with the same epochs.

        With more epochs, a finished run becomes unfinished.
        """
        earlier = self.config()
        if earlier is None or earlier.train.epochs != values["train.epochs"]:
            with write_errors(self / "summary.json"):
                (self / "summary.json").unlink(missing_ok=True)
            self.write_json("config.json", values)

    def write_json(self, name: str, value: Any) -> None:
        """Writes a JSON file whole or not at all."""
        with write_errors(self / name):
            files.write_json(self / name, value)

    def write_bytes(self, name: str, content: bytes) -> None:
        """Writes a file whole or not at all."""
        with write_errors(self / name):
            files.write(self / name, content)


def check_same(values: dict[str, Any], earlier: dict[str, Any], where: str) -> None:
    """Checks that a run may continue what an earlier config has begun.

    More epochs are allowed where the learning rate of a step does not depend on their number.

    Args:
      values: the run's flat config.
      earlier: the flat config of what was begun; fields that it lacks do not count.
      where: the place of the earlier config, for the message.

    Raises:
      InputError: fields that change the result differ; the message names them.
    """
    longer = values["train.epochs"] > earlier.get("train.epochs", math.inf)
    inert = {*config_fields.INERT_FIELDS}
    if longer and values["schedule.kind"] == "steps":
        inert.add("train.epochs")
    differing = [
        f"{field} was {earlier[field]!r}, now {value!r}"
        for field, value in values.items()
        if field not in inert and field in earlier and _plain(earlier[field]) != _plain(value)
    ]
    if differing:
        hint = ""
        if longer and values["schedule.kind"] == "cosine":
            hint = (
                " (a cosine over more epochs differs from its first step on; in another workdir, "
                "--config.init.weights=WORKDIR starts from this run's weights)"
            )
        raise InputError(
            f"{where} belongs to a run of another config ({'; '.join(differing)}); allowed: the "
            f"same config, or another workdir{hint}"
        )


def _plain(value):
    return list(value) if isinstance(value, tuple) else value  # as JSON has it


@contextlib.contextmanager
def write_errors(path: epath.PathLike):
    """Turns a failed write (a full disk, ...) into a RunError that names the file."""
    try:
        yield
    except OSError as error:
        raise RunError(
            f"{path} could not be written: {error.strerror or error}; the checkpoints are intact: "
            "run the same command again once it can"
        ) from error


def _read_json(path):
    try:
        return files.read_json(path)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error}") from None
    except ValueError:
        raise InputError(
            f"{path} is damaged: no JSON object; remove it and run the same command again, which "
            "resumes from the checkpoints"
        ) from None
