"""Requests by a load tool: autocannon, from npm, under ``.bench/node``."""

import base64
import json
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.speed.environments import BENCH, run
from embedge.vectors import FloatArray

_HERE = Path(__file__).parent
_NODE = BENCH / "node"


class Load(NamedTuple):
    """What a server answered."""

    seconds: float
    statuses: dict[str, int]
    errors: int
    """Connections that broke, and answers that took a minute."""
    compared: int
    wrong: int
    """Of the answers compared, those with other vectors than the library's."""
    p50_ms: float | None
    """``None`` where nothing was answered with 200."""
    p99_ms: float | None

    @property
    def answered(self) -> int:
        """How many requests got vectors."""
        return self.statuses.get("200", 0)

    @property
    def per_s(self) -> float:
        """Requests that got vectors, a second."""
        return self.answered / self.seconds


def request(texts: Sequence[str], model: str, vectors: FloatArray | None = None) -> dict[str, Any]:
    """A request for ``texts`` as OpenAI's client sends it; its answers are compared with ``vectors``."""
    body = {"input": list(texts), "encoding_format": "base64", **({"model": model} if model else {})}
    made: dict[str, Any] = {"path": "/v1/embeddings", "body": json.dumps(body)}
    if vectors is not None:
        made["vectors"] = [base64.b64encode(vector).decode() for vector in vectors]
    return made


def load(
    url: str, requests: Sequence[dict[str, Any]], *, connections: int, seconds: float, amount: int | None = None
) -> Load:
    """Send ``requests`` in turn on each of ``connections``, the next as soon as the last is answered.

    For ``seconds``, or with ``amount`` until so many are answered.
    """
    given = {"url": url, "connections": connections, "seconds": seconds, "amount": amount, "requests": requests}
    done = subprocess.run(
        ["node", _HERE / "load.mjs", _prepared()],
        input=json.dumps(given),
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        timeout=seconds + 600,
    )
    found = json.loads(done.stdout)
    p50, p99 = found["ms"]
    errors = found["errors"] + found["timeouts"]
    return Load(found["seconds"], found["statuses"], errors, found["compared"], found["wrong"], p50, p99)


def version() -> str:
    """The load tool's name and version."""
    return f"autocannon {json.loads((_HERE / 'package.json').read_text())['dependencies']['autocannon']}"


def _prepared() -> Path:
    if not (_NODE / "node_modules" / "autocannon").is_dir():
        _NODE.mkdir(parents=True, exist_ok=True)
        shutil.copy(_HERE / "package.json", _NODE)
        run(["npm", "install", "--no-audit", "--no-fund", "--prefix", _NODE], cwd=_NODE)
    return _NODE
