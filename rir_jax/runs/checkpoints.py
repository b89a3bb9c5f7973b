"""Checkpoints through orbax, with digests of every array.

Orbax writes in the background and makes a checkpoint visible only when it is whole: by a rename,
or in a bucket by a mark (see `rir_jax.files`). It does not notice bits that flip afterwards, so
each checkpoint has digests of its arrays, which are checked when it is read. A damaged checkpoint
is set aside, with a warning that names it, and the one before is used.

A write to a bucket that fails is done again, from a copy on the host. gcsfs and tensorstore repeat
single requests, but some cannot be repeated, such as the end of an upload that the store received
while its answer was lost.
"""

import concurrent.futures
import contextlib
import json
import logging
import os
import re
import threading
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp
from etils import epath

from rir_jax import files
from rir_jax.devices.processes import is_main_process
from rir_jax.errors import InputError, RunError
from rir_jax.files import digest_of_array, digest_of_json, plain
from rir_jax.runs.background import Background

_log = logging.getLogger(__name__)
FORMAT = 1
"""The number of the layout of a checkpoint's notes and state. The notes contain it; those of the
first version lack it and have layout 1. All layouts digest the notes in the same way."""

_ATTEMPTS = 3  # times that one process writes a checkpoint to a bucket before it gives up

# Errors of stores that cannot be read now: the checkpoint may well be intact.
_REFUSALS = re.compile(r"\b(401|403|UNAUTHENTICATED|PERMISSION_DENIED|UNAVAILABLE)\b")


class Checkpoints:
    """The checkpoints of one run, by step.

    Args:
      folder: the folder of the checkpoints, made when the first one is saved.
      keep: number of checkpoints to keep, the newest ones.
      check_held: function that raises an error if another run has taken the folder over; called
        before a write is done again.

    Raises:
      RunError: any method raises it if checkpoints cannot be listed, written or deleted; those
        that were whole before still are.
    """

    def __init__(
        self,
        folder: epath.PathLike,
        keep: int = 2,
        check_held: Callable[[], None] = lambda: None,
    ):
        # Orbax needs absolute paths; those in buckets are absolute.
        self.folder = files.path(folder if files.is_remote(folder) else os.path.abspath(folder))
        self._keep, self._check_held = keep, check_held
        self._writer: Any = None
        self._pruning: Background | None = None
        self._newest: int | None = None  # the step of the last save
        self._items: Any = None  # what the last save writes
        self._again = 0  # how often that write may still be done again

    def save(self, state: Any, notes: dict[str, Any]) -> None:
        """Starts to write a state (a tree with a ``step``) and JSON notes; returns at once.

        A step that was saved last is not saved again. An error may also be of an earlier write.
        """
        step = int(state.step)
        if step == self._newest:
            return
        self.wait()
        # A copy, as orbax reads them later, while the training loop changes its own.
        notes = json.loads(json.dumps({"format": FORMAT, **notes, "digests": digests(state)}))
        notes["digest_of_notes"] = digest_of_json(notes)
        if files.is_remote(self.folder) and jax.process_count() == 1:
            self._again = _ATTEMPTS - 1
            state = jax.tree.map(np.asarray, state)  # outlives the donated arrays
        self._items = ocp.args.Composite(
            state=ocp.args.StandardSave(state), notes=ocp.args.JsonSave(notes)
        )
        self._newest = step
        with self._write_errors():
            self._try(self._begin)

    def _begin(self):
        if self._writer is None:
            if is_main_process():
                files.make_folder(self.folder)
            self._writer = ocp.AsyncCheckpointer(ocp.CompositeCheckpointHandler())
        self._writer.save(plain(self.folder) / str(self._newest), args=self._items)

    def _try(self, work):
        """Does a part of a write; if it fails, writes everything again while that is allowed."""
        while True:
            try:
                return work()
            except Exception as error:
                if not self._again:
                    raise
                _log.info("checkpoint %s is written again: %s", self._newest, _reason(error))
            self._again -= 1
            work = self._rewrite

    def _rewrite(self):
        for thread in threading.enumerate():
            if type(thread).__module__.startswith("orbax."):  # it may be writing still
                with contextlib.suppress(Exception):
                    thread.join()
        self._check_held()
        if self._newest in self.steps():  # only the last answer was lost
            return
        files.remove_folder(self.folder / str(self._newest))
        self._begin()
        self._writer.wait_until_finished()

    def wait(self) -> None:
        """Waits until all is written, then deletes the oldest (in a bucket, in the background)."""
        if self._writer is None:
            return
        with self._write_errors():
            self._try(self._writer.wait_until_finished)
            self._items, self._again = None, 0
            # Orbax's own manager would also delete after a write that failed.
            if is_main_process():
                if files.is_remote(self.folder):
                    self._pruning = self._pruning or Background()
                    self._pruning.wait()
                    self._pruning.do(self._prune)
                else:  # before the next checkpoint needs the space
                    self._prune()

    def _prune(self):
        for step in self.steps()[self._keep :]:
            try:
                files.remove_folder(self.folder / str(step))
            except OSError as error:
                raise RunError(
                    f"the old checkpoint {self.folder / str(step)} could not be deleted: "
                    f"{_reason(error)}; the newer ones are intact: run the same command again"
                ) from error

    def close(self) -> None:
        """Waits, and frees the threads."""
        try:
            self.wait()
        finally:
            writer, pruning = self._writer, self._pruning
            self._writer = self._pruning = None
            if writer is not None:
                with contextlib.suppress(Exception):  # `wait` has raised for a failed write
                    writer.close()
            if pruning is not None:
                with self._write_errors():
                    pruning.close()

    def steps(self) -> list[int]:
        """The steps of the checkpoints, the newest first."""
        try:
            names = [path.name for path in files.whole_folders(self.folder)]
        except OSError as error:
            raise RunError(f"{self.folder} cannot be listed: {_reason(error)}") from error
        return sorted((int(name) for name in names if name.isdecimal()), reverse=True)

    def restore(
        self, abstract_state: Callable[[dict[str, Any]], Any]
    ) -> tuple[Any, dict[str, Any]] | None:
        """The state and notes of the newest intact checkpoint; None if there never was one.

        It skips damaged ones with a warning (`set_aside_after` moves them away).

        Args:
          abstract_state: a function from a checkpoint's notes to the shapes, types and shardings
            of its state; an InputError that it raises is passed on.

        Raises:
          InputError: the newest checkpoint has the format of another version.
          RunError: all checkpoints are damaged.
        """
        steps = self.steps()
        for step in steps:
            try:
                restored = self._restore(step, abstract_state)
            except InputError:
                raise
            except Exception as error:  # of any kind, where files are damaged
                self.steps()  # raises if the store is gone
                reason = _reason(error)[:200]
                if files.is_remote(self.folder) and _REFUSALS.search(reason):
                    raise RunError(f"{self.folder / str(step)} cannot be read: {reason}") from error
                _log.warning("checkpoint %s is damaged: %s", self.folder / str(step), reason)
            else:
                self._newest = step
                return restored
        if steps:
            raise RunError(
                f"all checkpoints in {self.folder} are damaged ({', '.join(map(str, steps))}); "
                "move the workdir away to start over"
            )
        return None

    def clear_leftovers(self) -> None:
        """Deletes folders that a kill or a full disk left half written or half deleted.

        Best effort: leftovers are harmless and only use space. (In a bucket orbax refuses to
        overwrite one, and the run says so.)
        """
        if is_main_process():
            with contextlib.suppress(OSError):
                for folder in files.leftovers(self.folder):
                    with contextlib.suppress(OSError):
                        files.remove_folder(folder)

    def set_aside_after(self, step: int) -> None:
        """Moves checkpoints newer than ``step``, which are damaged, into damaged_checkpoints/."""
        if is_main_process():
            for newer in [str(found) for found in self.steps() if found > step]:
                with self._write_errors():
                    shelter = self.folder.parent / "damaged_checkpoints"
                    files.move_folder(self.folder / newer, shelter / newer)

    def _restore(self, step, abstract_state):
        path = plain(self.folder) / str(step)
        with ocp.Checkpointer(ocp.CompositeCheckpointHandler()) as reader:
            notes = reader.restore(path, args=ocp.args.Composite(notes=ocp.args.JsonRestore()))
            notes = dict(notes.notes)
            if notes.pop("digest_of_notes", None) != digest_of_json(notes):
                raise ValueError("its notes do not match their digest")
            found = notes.pop("format", 1)
            if found != FORMAT:
                age = "an older" if found < FORMAT else "a newer"
                raise InputError(
                    f"checkpoint {path} has format {found}, of {age} version of rir_jax; allowed: "
                    f"{FORMAT} (the version that wrote it can resume it)"
                )
            items = ocp.args.Composite(state=ocp.args.StandardRestore(abstract_state(notes)))
            state = reader.restore(path, args=items).state
        expected = notes.pop("digests")
        for name, digest in digests(state).items():
            if digest != expected.get(name):
                raise ValueError(f"array {name} does not match its digest")
        return state, notes

    @contextlib.contextmanager
    def _write_errors(self):
        """Turns any error of a failed write into a RunError."""
        try:
            yield
        except RunError:
            raise
        except Exception as error:
            raise RunError(
                f"the checkpoint of step {self._newest} in {self.folder} could not be written: "
                f"{_reason(error)}; what was saved before is intact: run the same command again "
                "once it can"
            ) from error


def _reason(error):
    """An error in brief: of tensorstore's long ones, the operating system's message alone."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    text = " ".join(str(error).split())
    code = re.search(r"os_error_code='(\d+)'", text)
    return os.strerror(int(code[1])) if code else text[:300]


def digests(tree: Any) -> dict[str, str]:
    """The SHA-256 of every array's type, shape and bytes, by its path in the tree."""
    named = named_leaves(tree)
    with concurrent.futures.ThreadPoolExecutor() as threads:  # hashing frees the interpreter
        return dict(zip(named, threads.map(digest_of_array, named.values()), strict=True))


def named_leaves(tree: Any) -> dict[str, np.ndarray]:
    """The arrays of a tree on the host, by their paths in it, such as "params/head/kernel"."""
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    return {
        jax.tree_util.keystr(path, simple=True, separator="/"): np.asarray(leaf)
        for path, leaf in leaves
    }
