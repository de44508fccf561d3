"""``embedge export`` of a hub id, from a hub on this machine."""

import hashlib
import http.server
import io
import json
import os
import re
import shutil
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cases import MakeCheckpoint
from tests.cli.running import Cli, lines_of, process


def export_from(
    endpoint: str, model_id: str, directory: Path, out: tuple[str, ...] = ("out",)
) -> subprocess.CompletedProcess[str]:
    """Export a hub's model in ``directory``; nothing but ``endpoint`` is asked, with a cache of its own."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("HF_", "HUGGINGFACE_"))}
    hub = {"HF_ENDPOINT": endpoint, "HF_HOME": str(directory / "cache"), "NO_PROXY": "127.0.0.1"}
    return process("export", model_id, *out, cwd=directory, env={**kept, **hub}, text=True)


class Hub(http.server.BaseHTTPRequestHandler):
    """The answers that ``huggingface_hub`` needs to download a model; its files are those in ``root``."""

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
        else:
            model_id = "/".join(path.split("/")[3:5])
            self._answer({"id": model_id, "modelId": model_id, "sha": self.revision, "siblings": []})

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


@pytest.fixture
def stand_in_hub(make_checkpoint: MakeCheckpoint) -> Iterator[str]:
    """The address of a hub on this machine that has one small model under every id."""
    handler = type("Handler", (Hub,), {"root": make_checkpoint("served")})
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join()


def test_a_stand_in_hub_serves_a_model_that_exports(stand_in_hub: str, cli: Cli, tmp_path: Path) -> None:
    done = export_from(stand_in_hub, "someone/model", tmp_path)
    assert done.returncode == 0, done.stderr
    assert cli("info", "--json", tmp_path / "out") == 0
    source = json.loads(cli.out)["source"]
    weights = (tmp_path / "served" / "model.safetensors").read_bytes()
    assert source == {
        "id": "someone/model",
        "revision": Hub.revision,
        "weights_sha256": hashlib.sha256(weights).hexdigest(),
        "license": None,
    }


def test_without_a_directory_it_goes_to_the_store_and_is_found_by_its_id(
    stand_in_hub: str, cli: Cli, tmp_path: Path, store: Path
) -> None:
    done = export_from(stand_in_hub, "someone/model", tmp_path, ())
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"{store / 'someone' / 'model'}: ")
    assert done.stdout.endswith("embedge embed --model someone/model 'a text'\n")
    assert cli("embed", "--model", "someone/model", "a text") == 0
    assert len(lines_of(cli.out)) == 1
    again = export_from(stand_in_hub, "Someone/Model", tmp_path, ())
    assert f"{store / 'someone' / 'model'} exists" in again.stderr
    assert export_from(stand_in_hub, "someone/model", tmp_path, ("--force",)).returncode == 0
    assert sorted(path.name for path in (store / "someone").iterdir()) == ["model"]


def test_a_stand_in_hub_with_other_weights_for_bge_small_en_is_refused(stand_in_hub: str, tmp_path: Path) -> None:
    done = export_from(stand_in_hub, "BAAI/bge-small-en", tmp_path)
    assert (done.returncode, done.stdout) == (1, "")
    error = done.stderr.splitlines()[-1]
    assert "e3f93baaef0f082d01814223d65942241664d215849a5b76a95f9d390da379b6" in error
    assert "model.safetensors has sha256" in error
    assert sorted(path.name for path in tmp_path.iterdir()) == ["cache", "served"]


def test_a_stand_in_hub_that_has_no_such_model_is_told(stand_in_hub: str, tmp_path: Path) -> None:
    done = export_from(stand_in_hub, "no/model", tmp_path)
    assert done.returncode == 1
    assert "no such model on the hub" in done.stderr.splitlines()[-1]


def test_a_hub_that_can_not_be_reached_is_told_with_a_way_out(tmp_path: Path) -> None:
    done = export_from("http://127.0.0.1:9", "someone/model", tmp_path)
    assert (done.returncode, done.stdout) == (1, "")
    *steps, error = done.stderr.splitlines()
    assert len(steps) == 1
    assert error.startswith("embedge: error: someone/model can't be fetched")
    assert "give their directory" in error
    assert not (tmp_path / "out").exists()
