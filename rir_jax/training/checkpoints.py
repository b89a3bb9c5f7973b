"""Checkpoints through orbax, with digests of every array.

Orbax writes in the background and makes a checkpoint visible only when it is whole. What it does
not see is a bit that flips on the disk afterwards, so each checkpoint carries the digests of its
arrays and is checked against them when it is read. One that fails is set aside, with a
warning that names it, and the one before is used.
"""

import hashlib
import json
import logging
import os
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp
from etils import epath

from rir_jax.errors import RunError
from rir_jax.parallel import is_main_process

_log = logging.getLogger(__name__)


class Checkpoints:
    """The checkpoints of one run, by step.

    Args:
      folder: of the checkpoints; made when the first one is saved.
      keep: how many of the newest to keep.
    """

    def __init__(self, folder: epath.PathLike, keep: int = 2):
        folder = os.fspath(folder)
        # Orbax wants absolute paths; those of object stores are.
        self.folder = epath.Path(folder if "://" in folder else os.path.abspath(folder))
        self._keep = keep
        self._manager = None

    def save(self, state: Any, notes: dict[str, Any]) -> None:
        """Starts to write a state (a tree with a ``step``) and JSON notes; returns at once.

        Raises:
          RunError: this or an earlier write failed. What was whole before still is.
        """
        step = int(state.step)
        notes = {**notes, "digests": digests(state)}
        notes["digest_of_notes"] = _digest_of_json(notes)
        items = ocp.args.Composite(
            state=ocp.args.StandardSave(state), notes=ocp.args.JsonSave(notes)
        )
        with _write_errors(self.folder, step):
            self._open().save(step, args=items, force=True)

    def wait(self) -> None:
        """Waits until all is on the disk.

        Raises:
          RunError: a write failed.
        """
        if self._manager is not None:
            with _write_errors(self.folder, self._manager.latest_step()):
                self._manager.wait_until_finished()

    def close(self) -> None:
        """Waits, and frees the writer's threads."""
        if self._manager is not None:
            self.wait()
            self._manager.close()
            self._manager = None

    def steps(self) -> list[int]:
        """Steps of the checkpoints that are there, the newest first."""
        if not self.folder.exists():
            return []
        names = [path.name for path in self.folder.iterdir()]
        return sorted((int(name) for name in names if name.isdigit()), reverse=True)

    def restore(
        self, abstract_state: Callable[[dict[str, Any]], Any]
    ) -> tuple[Any, dict[str, Any]] | None:
        """The newest checkpoint that is intact: its state and notes; None if there never was one.

        Damaged ones are passed over with a warning (`set_aside_after` moves them away).

        Args:
          abstract_state: from a checkpoint's notes to shapes, types and shardings of its state.

        Raises:
          RunError: there are checkpoints, and all of them are damaged.
        """
        steps = self.steps()
        for step in steps:
            try:
                return self._restore(step, abstract_state)
            except Exception as error:  # whatever a damaged file makes its readers raise
                reason = " ".join(str(error).split())[:200]
                _log.warning("checkpoint %s is damaged: %s", self.folder / str(step), reason)
        if steps:
            raise RunError(
                f"all checkpoints in {self.folder} are damaged ({', '.join(map(str, steps))}); "
                "move the workdir away to start over"
            )
        return None

    def set_aside_after(self, step: int) -> None:
        """Moves checkpoints newer than ``step``, which were found damaged, out of the way."""
        if not is_main_process():
            return
        for newer in self.steps():
            if newer > step:
                shelter = self.folder.parent / "damaged_checkpoints"
                shelter.mkdir(parents=True, exist_ok=True)
                target = shelter / str(newer)
                if target.exists():
                    target.rmtree()
                (self.folder / str(newer)).rename(target)

    def _restore(self, step, abstract_state):
        reader = ocp.CheckpointManager(
            self.folder, options=ocp.CheckpointManagerOptions(read_only=True)
        )
        with reader:
            notes = reader.restore(step, args=ocp.args.Composite(notes=ocp.args.JsonRestore()))
            notes = dict(notes.notes)
            if notes.pop("digest_of_notes", None) != _digest_of_json(notes):
                raise ValueError("its notes do not match their digest")
            items = ocp.args.Composite(state=ocp.args.StandardRestore(abstract_state(notes)))
            state = reader.restore(step, args=items).state
        expected, found = notes.pop("digests"), digests(state)
        for name in found:
            if found[name] != expected.get(name):
                raise ValueError(f"array {name} does not match its digest")
        return state, notes

    def _open(self):
        if self._manager is None:
            self.folder.mkdir(parents=True, exist_ok=True)
            options = ocp.CheckpointManagerOptions(max_to_keep=self._keep)
            self._manager = ocp.CheckpointManager(self.folder, options=options)
        return self._manager


def digests(tree: Any) -> dict[str, str]:
    """SHA-256 of every array's type, shape and bytes, by its path in the tree."""
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    return {
        jax.tree_util.keystr(path, simple=True, separator="/"): _digest(np.asarray(leaf))
        for path, leaf in leaves
    }


def _digest(array):
    described = hashlib.sha256(f"{array.dtype} {array.shape} ".encode())
    described.update(np.ascontiguousarray(array).view(np.uint8).data)
    return described.hexdigest()


def _digest_of_json(value):
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


class _write_errors:  # noqa: N801  (used like a function)
    """Turns whatever a failed write raises into one RunError."""

    def __init__(self, folder, step):
        self.where = f"checkpoint of step {step} in {folder}"

    def __enter__(self):
        return self

    def __exit__(self, kind, error, traceback):
        if error is not None and isinstance(error, Exception):
            reason = " ".join(str(error).split())[:300]
            raise RunError(
                f"the {self.where} could not be written: {reason} (older ones are intact; run the "
                "same command again once there is room)"
            ) from error
