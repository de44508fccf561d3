"""Whatever is sent, no route fails, and every answer is one that ``/openapi.json`` describes.

Requests are made by schemathesis from our own description of the routes (``make clients``).
"""

import subprocess
import sys

import pytest

from embedge import Embedder, Reranker
from tests.cases import ROOT
from tests.server.conftest import serving

CHECKS = [
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_schema_conformance",
    "negative_data_rejection",
]


@pytest.mark.clients
def test_every_answer_is_as_described(prompted: Embedder, squashed: Reranker) -> None:
    environment = ROOT / ".clients" / "schemathesis"
    if not (environment / "done").exists():
        subprocess.run([sys.executable, "-m", "venv", "--clear", environment], check=True)
        subprocess.run([environment / "bin" / "pip", "install", "--quiet", "schemathesis>=4.5"], check=True)
        (environment / "done").touch()
    with serving(prompted, squashed) as url:
        command = [
            str(environment / "bin" / "schemathesis"), "run", f"{url}/openapi.json", f"--checks={','.join(CHECKS)}",
            "--max-examples=200", "--phases=examples,coverage,fuzzing", "--generation-deterministic", "--mode=all",
        ]  # fmt: skip
        done = subprocess.run(command, capture_output=True, text=True, timeout=900, cwd=environment)
    assert done.returncode == 0, done.stdout
