"""A lease on a folder in a bucket, which has no locks: it keeps a second run out.

The holder of a folder renews the object ``.lease`` in it every few seconds, by requests that the
store refuses if anyone else has written the object since (generation preconditions). So only one of
several processes gets the folder, and a process that has lost it notices. A lease that has not been
renewed for `SILENCE` seconds, by the store's own clock, is free: nobody has to clean up after
``kill -9``. A process that finds a lease waits to see whether it is renewed; if the holder ran on
the same machine, it knows at once whether it still does.

A warning would not be enough: the machine that is preempted and the one that replaces it run the
same command, and nobody reads the warnings of either.
"""

import contextlib
import dataclasses
import datetime
import email.utils
import json
import logging
import os
import pathlib
import socket
import threading
import time
import uuid
from typing import Any

from etils import epath

from rir_jax import files
from rir_jax.errors import InputError, RunError

RENEWAL = 10.0
"""Seconds between renewals."""
SILENCE = 60.0
"""Seconds without a renewal after which others may take a lease over."""

_log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class _Found:
    """A lease as found in the store.

    Attributes:
      generation: the store's number for this version of the object.
      holder: the process that wrote it, as `_this_process` describes it; empty if given back.
      silence: seconds since it was written, by the store's clock.
    """

    generation: str
    holder: dict[str, str]
    silence: float

    def is_free(self) -> bool:
        started = self.holder.get("started")
        has_ended = _is_here(self.holder) and _started(self.holder.get("pid")) != started
        return not self.holder or self.silence >= SILENCE or has_ended

    def __str__(self):
        return f"process {self.holder.get('pid')} on {self.holder.get('host')}"


class Lease:
    """Keeps other runs out of a folder in a bucket while it is entered.

    Args:
      folder: the folder in the bucket.

    Raises:
      InputError: another process holds the folder.
      OSError: the lease cannot be written.
    """

    def __init__(self, folder: epath.Path):
        self._folder, self._object = folder, _Object(folder / ".lease")
        self._holder = _this_process()
        self._generation = "0"  # the store's number for an object that is not there
        self._renewed = 0.0
        self._lost: str | None = None
        self._lock = threading.Lock()
        self._over = threading.Event()

    def __enter__(self):
        self._take()
        self._thread = threading.Thread(target=self._keep, name="lease", daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._over.set()
        self._thread.join(timeout=RENEWAL)
        if self._lost is None and self._is_fresh():
            with contextlib.suppress(OSError):  # best effort: silence frees it as well
                self._object.write({}, self._generation)

    def check(self) -> None:
        """Checks that this process still holds the folder; asks the store only if in doubt.

        Raises:
          RunError: another process has taken it over.
          OSError: the store cannot be asked.
        """
        if self._lost is None and not self._is_fresh():
            self._renew()
        if self._lost is not None:
            raise RunError(
                f"{self._folder} was taken over by {self._lost}, as this process had not been "
                f"heard of for {SILENCE:.0f} s; nothing is written any more"
            )

    def _is_fresh(self):
        return time.monotonic() - self._renewed < SILENCE / 2

    def _take(self):
        first = None
        while True:
            found = self._object.read()
            if found is None or found.is_free():
                if self._write(found.generation if found else "0"):
                    return
                continue  # someone was faster
            if first is None:
                first = found
                if not _is_here(found.holder):
                    _log.info(
                        "%s was held by %s %.0f s ago; waiting for at most %.0f s to see whether "
                        "it still is",
                        *(self._folder, found, found.silence, SILENCE - found.silence),
                    )
            if _is_here(found.holder) or found.generation != first.generation:
                raise InputError(
                    f"workdir {self._folder} is in use by another process ({found}); wait for it, "
                    "or choose another workdir"
                )
            time.sleep(min(1.0, SILENCE / 10))

    def _keep(self):
        while not self._over.wait(RENEWAL) and self._lost is None:
            with contextlib.suppress(OSError):  # tries again; `check` raises if it takes too long
                self._renew()

    def _renew(self):
        with self._lock:
            if self._write(self._generation):
                return
            found = self._object.read()
            if found is None:  # deleted by hand
                if self._write("0"):
                    return
                found = self._object.read()
            self._lost = str(found)

    def _write(self, generation):
        """Writes the lease if the store still has that generation; returns whether it did."""
        written = self._object.write(self._holder, generation)
        if written is None:
            return False
        self._generation, self._renewed = written, time.monotonic()
        return True


class _Object:
    """The object of a lease. Its content is in its metadata, so that one request reads it."""

    def __init__(self, path: epath.Path):
        self._path, self._store = path, files.store()
        self._bucket, _, self._name = os.fspath(path).removeprefix("gs://").partition("/")

    def read(self) -> _Found | None:
        """The lease, or None if there is none."""
        with files.store_errors(self._path):
            try:
                headers, content = self._store.call("GET", "b/{}/o/{}", self._bucket, self._name)
            except FileNotFoundError:
                return None
        described = json.loads(content)
        written = datetime.datetime.fromisoformat(described["updated"])
        now = email.utils.parsedate_to_datetime(headers["Date"])
        silence = max(0.0, (now - written).total_seconds())
        return _Found(str(described["generation"]), described.get("metadata") or {}, silence)

    def write(self, holder: dict[str, str], generation: str) -> str | None:
        """Replaces a generation of the lease.

        Returns:
          The new generation; None if the store has another one than the given.
        """
        nonce = uuid.uuid4().hex
        described: dict[str, Any] = {"name": self._name}
        if holder:
            described["metadata"] = {**holder, "nonce": nonce}
        parts = [json.dumps(described), nonce]
        body = "".join(f"--lease\r\nContent-Type: application/json\r\n\r\n{p}\r\n" for p in parts)
        with files.store_errors(self._path):
            try:
                answer = self._store.call(
                    "POST",
                    f"{self._store._location}/upload/storage/v1/b/{{}}/o",
                    self._bucket,
                    uploadType="multipart",
                    ifGenerationMatch=generation,
                    headers={"Content-Type": "multipart/related; boundary=lease"},
                    data=f"{body}--lease--".encode(),
                    json_out=True,
                )
            except FileExistsError:  # another process wrote; or we did, and the answer was lost
                found = self.read()
                if found is not None and found.holder.get("nonce") == nonce:
                    return found.generation
                return None
        return str(answer["generation"])


def _this_process():
    """Describes this process. Host and number do not suffice, as containers share them."""
    return {
        "host": socket.gethostname(),
        "machine": _machine(),
        "pid": str(os.getpid()),
        "started": _started(os.getpid()),
    }


def _machine():
    """This boot of this machine and its process namespace; "" where unknown."""
    try:
        boot = pathlib.Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot} {os.readlink('/proc/self/ns/pid')}"
    except OSError:
        return ""


def _started(pid):
    """When a process of this machine started, by the kernel's clock; "" if there is none."""
    try:
        described = pathlib.Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return ""
    state, *rest = described.rpartition(")")[2].split()
    return "" if state in "ZX" else rest[18]


def _is_here(holder):
    """Whether the holder of a lease ran on this machine, where its process can be looked up."""
    return bool(_machine()) and holder.get("machine") == _machine()
