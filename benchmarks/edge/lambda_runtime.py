"""Lambda's Runtime API on loopback, and a function that runs against it by AWS's own client, `awslambdaric`.

The process sees the function's directory, the client's and Python's own library, as on Lambda; nothing of this
environment. What is not here: Lambda's machines, its share of a CPU, and its network.
"""

import itertools
import json
import os
import queue
import shutil
import subprocess
import threading
import time
import zipfile
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self

CLIENT = ("awslambdaric", "simplejson", "snapshot-restore-py")
"""The packages of the client."""

_VERSION = "/2018-06-01/runtime"
_ARN = "arn:aws:lambda:us-east-1:000000000000:function:embedge"
_TIMEOUT_S = 60
# The limit is set before anything is imported. The directories come first, as Lambda has them.
_START = """\
import resource, sys
limit = int(sys.argv[1])
if limit:
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
sys.path[:0] = sys.argv[2:4]
from awslambdaric.__main__ import main
main(["awslambdaric", "handler.handler"])
"""


class Posted(NamedTuple):
    """What a function has sent."""

    kind: str
    """``"ready"`` for the next event, ``"response"``, ``"error"`` of an invocation, or ``"init/error"``."""
    content: Any
    at: float
    """By :func:`time.monotonic`."""


class FunctionFailed(Exception):
    """An invocation or the start failed; the message has what the client reported, and the function's log."""


class Function:
    """A function that is running; start it in a ``with``."""

    def __init__(
        self,
        directory: Path,
        client: Path,
        python: str,
        *,
        memory_mb: int,
        address_space_mb: int = 0,
        cpus: set[int] | None = None,
    ) -> None:
        """``directory`` is a package unzipped, ``client`` has the packages :data:`CLIENT`.

        ``memory_mb`` is what the function is told that it has; ``address_space_mb`` what it gets, 0 for no limit;
        ``cpus`` those that it may run on.
        """
        self._directory, self._client, self._python = directory, client, python
        self._memory_mb, self._address_space_mb, self._cpus = memory_mb, address_space_mb, cpus
        self.init_s = 0.0
        """Seconds from the start of the process until it asked for an event."""

    def __enter__(self) -> Self:
        """Start it; `FunctionFailed` where it does not come up."""
        self._api = _Api()
        environment = {
            "PATH": os.defpath,
            "LANG": "C.UTF-8",
            "AWS_LAMBDA_RUNTIME_API": self._api.address,
            "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": str(self._memory_mb),
            "AWS_LAMBDA_FUNCTION_NAME": "embedge",
            "AWS_LAMBDA_INITIALIZATION_TYPE": "on-demand",
            "LAMBDA_TASK_ROOT": str(self._directory),
        }
        code = ["-I", "-S", "-B", "-c", _START, str(self._address_space_mb << 20)]
        on = ["taskset", "-c", ",".join(map(str, sorted(self._cpus)))] if self._cpus else []
        if os.geteuid() == 0 and shutil.which("setpriv"):
            on += ["setpriv", "--bounding-set", "-dac_override"]  # root may not write what is read-only either
        started = time.monotonic()
        self._process = subprocess.Popen(
            [*on, self._python, *code, str(self._directory), str(self._client)],
            cwd=self._directory,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self._log: list[str] = []
        self._reader = threading.Thread(target=self._read_log, daemon=True)
        self._reader.start()
        try:
            self.init_s = self._await("ready").at - started
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End it."""
        self._process.kill()
        self._process.wait()
        self._reader.join()
        self._api.close()

    def invoke(self, event: object) -> tuple[Any, float]:
        """What the function returns for an event, and the seconds until it did; `FunctionFailed` where it raises."""
        sent = time.monotonic()
        self._api.events.put(json.dumps(event).encode())
        answer = self._await("response")
        self._await("ready")
        return answer.content, answer.at - sent

    @property
    def log(self) -> str:
        """What the function has written."""
        return "".join(self._log)

    @property
    def peak_mb(self) -> float:
        """The most memory that was resident at once."""
        return self._status("VmHWM")

    @property
    def peak_address_space_mb(self) -> float:
        """The most address space that it had at once."""
        return self._status("VmPeak")

    def _status(self, field: str) -> float:
        text = Path(f"/proc/{self._process.pid}/status").read_text()
        return int(text.partition(f"{field}:")[2].split()[0]) * 1024 / 1e6

    def _await(self, kind: str) -> Posted:
        deadline = time.monotonic() + _TIMEOUT_S
        while time.monotonic() < deadline:
            try:
                posted = self._api.posted.get(timeout=0.1)
            except queue.Empty:
                if self._process.poll() is None:
                    continue
                self._reader.join()
                raise FunctionFailed(f"it ended with {self._process.returncode}: {self.log}") from None
            if posted.kind == kind:
                return posted
            if posted.kind.endswith("error"):
                raise FunctionFailed(f"{posted.kind}: {posted.content}\n{self.log}")
        raise FunctionFailed(f"no {kind} within {_TIMEOUT_S} s: {self.log}")

    def _read_log(self) -> None:
        assert self._process.stdout
        with self._process.stdout as lines:
            self._log.extend(lines)


def unzip_read_only(package: Path, directory: Path) -> None:
    """The package as Lambda has it: nobody may write there."""
    with zipfile.ZipFile(package) as archive:
        archive.extractall(directory)
    for path in [*directory.rglob("*"), directory]:
        path.chmod(0o555 if path.is_dir() else 0o444)


class _Api:
    """The side that hands out events and takes answers."""

    def __init__(self) -> None:
        self.events: queue.Queue[bytes | None] = queue.Queue()
        self.posted: queue.Queue[Posted] = queue.Queue()
        self.numbers = itertools.count(1)
        self._server = _Server(("127.0.0.1", 0), _handler(self))
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()
        self.address = "{}:{}".format(*self._server.server_address[:2])

    def close(self) -> None:
        self.events.put(None)  # for the function that waits for the next one
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        """The function was ended while it waited; what it does wrong shows in its log."""


def _handler(api: _Api) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True  # an answer's headers and body go out at once

        def do_GET(self) -> None:
            assert self.path == f"{_VERSION}/invocation/next"
            api.posted.put(Posted("ready", None, time.monotonic()))
            event = api.events.get()
            if event is None:
                return
            deadline = str(round((time.time() + _TIMEOUT_S) * 1000))
            identity = {"Aws-Request-Id": str(next(api.numbers)), "Deadline-Ms": deadline}
            headers = {f"Lambda-Runtime-{name}": value for name, value in identity.items()}
            self._answer(200, event, {**headers, "Lambda-Runtime-Invoked-Function-Arn": _ARN})

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            at = time.monotonic()
            kind = "init/error" if self.path.endswith("/init/error") else self.path.rpartition("/")[2]
            api.posted.put(Posted(kind, json.loads(body), at))
            self._answer(202, b'{"status":"OK"}', {})

        def _answer(self, status: int, body: bytes, headers: Mapping[str, str]) -> None:
            self.send_response(status)
            for name, value in {**headers, "Content-Type": "application/json", "Content-Length": len(body)}.items():
                self.send_header(name, str(value))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002 - its name in the base class
            """Nothing."""

    return Handler
