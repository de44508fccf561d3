"""``embedge serve`` as a process of its own, and clients that speak to its sockets directly."""

import json
import os
import signal
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from tests.cli.running import EMBEDGE, heed_ctrl_c

PATIENCE_S = 60
"""When a test gives up; nothing that works takes as long."""


class Answer(NamedTuple):
    """A response, read from a socket."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """The body's JSON."""
        return json.loads(self.body)


class Client:
    """A connection that sends the bytes it is given."""

    def __init__(self, address: tuple[str, int] | str) -> None:
        self.socket = socket.socket(socket.AF_UNIX if isinstance(address, str) else socket.AF_INET)
        self.socket.settimeout(PATIENCE_S)
        try:
            self.socket.connect(address)
        except OSError:
            self.socket.close()
            raise
        self._reader = self.socket.makefile("rb")

    def send(self, data: bytes) -> None:
        self.socket.sendall(data)

    def answer(self) -> Answer:
        """The next response. Raises ``ConnectionError`` where the server closes without one."""
        line = self._reader.readline()
        if not line:
            raise ConnectionError("closed without an answer")
        headers = {}
        while field := self._reader.readline().strip():
            name, _, value = field.decode().partition(":")
            headers[name.lower()] = value.strip()
        return Answer(int(line.split()[1]), headers, self._reader.read(int(headers.get("content-length", 0))))

    def ask(self, method: str, path: str, body: bytes = b"", **headers: str) -> Answer:
        self.send(request(method, path, body, **headers))
        return self.answer()

    def is_closed(self) -> bool:
        """Whether the server closes the connection; waits for it."""
        try:
            return self._reader.read(1) == b""
        except ConnectionResetError:
            return True

    def close(self) -> None:
        self._reader.close()
        self.socket.close()


def request(method: str, path: str, body: bytes = b"", **headers: str) -> bytes:
    """A request as bytes; underscores in names of ``headers`` stand for hyphens."""
    fields = {"host": "test", "content-type": "application/json", "content-length": str(len(body))}
    fields |= {name.replace("_", "-"): value for name, value in headers.items()}
    lines = [f"{method} {path} HTTP/1.1", *(f"{name}: {value}" for name, value in fields.items())]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


class Serving:
    """A server while it runs. Its log is read in a thread, so that it never waits for us."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self.process = process
        self.url = ""
        self.log: list[dict[str, Any]] = []
        self._clients: list[Client] = []
        self._changed = threading.Condition()
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stderr
        for line in self.process.stderr:
            with self._changed:
                self.log.append(json.loads(line))
                self._changed.notify_all()

    def event(self, message: str) -> dict[str, Any]:
        """The first event that begins with ``message``; waits for it."""
        return self.wait(lambda event: str(event["message"]).startswith(message))

    def wait(self, matches: Callable[[dict[str, Any]], bool], known: int = 0) -> dict[str, Any]:
        """The first event after the ``known`` ones that ``matches``; waits for it."""

        def find() -> dict[str, Any] | None:
            return next(filter(matches, self.log[known:]), None)

        with self._changed:
            found = self._changed.wait_for(find, timeout=PATIENCE_S)
        assert found, self.log
        return found

    def connect(self) -> Client:
        """A connection that is closed with the server."""
        url = urlsplit(self.url)
        self._clients.append(Client(url.path if url.scheme == "unix" else (url.hostname or "", url.port or 0)))
        return self._clients[-1]

    def ask(self, method: str, path: str, body: bytes = b"", **headers: str) -> Answer:
        """By a connection of its own."""
        return self.connect().ask(method, path, body, **headers)

    def close(self) -> None:
        """Let go of what the test holds; the process has ended."""
        self._reader.join(PATIENCE_S)
        for client in self._clients:
            client.close()

    def signal(self, name: str) -> None:
        self.process.send_signal(signal.Signals[name])

    def end(self) -> int:
        """The exit code; waits for it."""
        code = self.process.wait(PATIENCE_S)
        self._reader.join(PATIENCE_S)
        return code


@contextmanager
def serve(*options: object, environment: Mapping[str, str] | None = None, **popen: Any) -> Iterator[Serving]:
    """``embedge serve`` with bundles and options, on a port that is free unless these say otherwise."""
    where = [] if "--uds" in options else ["--port", 0]
    command = [*EMBEDGE, "serve", *where, "--log-format", "json", *options]
    popen = {"preexec_fn": heed_ctrl_c, **popen}
    process = subprocess.Popen(
        list(map(str, command)),
        stdin=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, **(environment or {})},
        **popen,
    )
    with process:
        server = Serving(process)
        try:
            server.url = server.event("listening")["url"]
            yield server
        finally:
            process.kill()
            server.close()
