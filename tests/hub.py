"""A stand-in for the model hub, on this machine."""

import contextlib
import hashlib
import http.server
import io
import json
import os
import re
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path


class Hub(http.server.BaseHTTPRequestHandler):
    """The answers that ``huggingface_hub`` needs to download a model; its files are those in ``root``.

    Every model but ``no/...`` is there, at every revision but ``none``.
    """

    root: Path
    revision = "0123456789abcdef0123456789abcdef01234567"

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        asked = re.search("/revision/([0-9a-f]{40})$|/resolve/([0-9a-f]{40})/", path)
        self.revision = (asked[1] or asked[2]) if asked else Hub.revision
        files = [path for path in sorted(self.root.rglob("*")) if path.is_file()]
        if "/resolve/" in path:
            self._send(self.root / path.partition("/resolve/")[2].partition("/")[2])
        elif "/tree/" in path:
            names = [(file.relative_to(self.root).as_posix(), file.read_bytes()) for file in files]
            self._answer([{"type": "file", "path": name, "size": len(data), "oid": sha1(data)} for name, data in names])
        elif path.startswith("/api/models/no/"):
            self._answer({"error": "Repository not found"}, 404, {"X-Error-Code": "RepoNotFound"})
        elif path.endswith("/revision/none"):
            self._answer({"error": "Invalid rev id"}, 404, {"X-Error-Code": "RevisionNotFound"})
        else:
            model_id = "/".join(path.split("/")[3:5])
            siblings = [{"rfilename": file.relative_to(self.root).as_posix()} for file in files]
            self._answer({"id": model_id, "modelId": model_id, "sha": self.revision, "siblings": siblings})

    do_HEAD = do_GET  # noqa: N815

    def log_message(self, *_: object) -> None:
        """Nothing: the tests' output is not for it."""

    def _send(self, file: Path) -> None:
        if file.is_file():
            data = file.read_bytes()
            self._body(data, 200, {"ETag": f'"{sha1(data)}"', "X-Repo-Commit": self.revision})
        else:
            self._answer({}, 404, {"X-Error-Code": "EntryNotFound", "X-Repo-Commit": self.revision})

    def _answer(self, value: object, status: int = 200, headers: dict[str, str] | None = None) -> None:
        self._body(json.dumps(value).encode(), status, {"Content-Type": "application/json", **(headers or {})})

    def _body(self, data: bytes, status: int, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(data))}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "GET":
            shutil.copyfileobj(io.BytesIO(data), self.wfile)


def sha1(data: bytes) -> str:
    return hashlib.sha1(data).hexdigest()


@contextlib.contextmanager
def serve(root: Path) -> Iterator[str]:
    """The address of a hub that has the files in ``root`` under every id, while the context lasts."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (Hub,), {"root": root}))
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join()


def environment(endpoint: str, cache: Path) -> dict[str, str]:
    """That of a process that asks nothing but ``endpoint`` and has a cache of its own."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("HF_", "HUGGINGFACE_"))}
    return {**kept, "HF_ENDPOINT": endpoint, "HF_HOME": str(cache), "NO_PROXY": "127.0.0.1"}
