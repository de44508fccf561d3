"""Clients that people have get the library's bits. Each runs as a program of its own, in tests/server/clients.

``make test`` runs those that are installed; ``make clients`` all of them, newest and oldest, in environments of their
own under ``.clients``.
"""

import importlib.util
import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from embedge import Embedder, Reranker
from tests.cases import ROOT
from tests.server.conftest import serving

PROGRAMS = Path(__file__).parent / "clients"
QUERY = "why does bread dough rise?"

INSTALLED = {
    "openai": "openai_embeddings.py",
    "huggingface_hub": "huggingface_embeddings.py",
    "ollama": "ollama_embeddings.py",
}
# The oldest are the first with the present interface. What they need that they do not pin themselves follows.
PACKAGES = {
    "openai": "openai_embeddings.py",
    "openai==1.0.0 httpx<0.28": "openai_embeddings.py",
    "huggingface_hub": "huggingface_embeddings.py",
    "huggingface_hub==0.24.0": "huggingface_embeddings.py",
    "ollama": "ollama_embeddings.py",
    "ollama==0.3.0 httpx<0.28": "ollama_embeddings.py",
    "langchain-openai": "langchain_embeddings.py",
    "langchain-openai==0.1.6 httpx<0.28": "langchain_embeddings.py",
    "cohere": "cohere_rerank.py",
    "cohere==5.0.0 httpx<0.28": "cohere_rerank.py",
}
NPM = ["openai@latest", "openai@4.0.0"]


@pytest.fixture(scope="module")
def case(model: Embedder, reranker: Reranker, passages: list[str], tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A file with the address of a server, and what it has to answer."""
    texts = [*passages[:20], "", "東京の夜は静かだ"]
    scores = reranker.scores([(QUERY, text) for text in texts])
    with serving(model, reranker) as url:
        content = {
            "url": url,
            "model": "all-MiniLM-L6-v2",
            "models": [model.manifest.source.id, "trained"],
            "texts": texts,
            "tokens": sum(model.count_tokens(texts)),
            "vectors": model.embed(texts).tolist(),
            "reranker": "trained",
            "query": QUERY,
            "order": (-scores).argsort(kind="stable").tolist(),
            "scores": (1 / (1 + np.exp(-scores.astype(np.float64)))).tolist(),
        }
        path = tmp_path_factory.mktemp("clients") / "case.json"
        path.write_text(json.dumps(content))
        yield path


def run(*command: object) -> None:
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr


def own_directory(requirement: str) -> Path:
    return ROOT / ".clients" / "".join(letter if letter.isalnum() else "-" for letter in requirement)


@pytest.mark.parametrize("package", INSTALLED)
def test_an_installed_client_gets_the_librarys_bits(case: Path, package: str) -> None:
    if importlib.util.find_spec(package) is None:
        pytest.skip(f"{package} is not installed; make clients installs it")
    run(sys.executable, PROGRAMS / INSTALLED[package], case)


@pytest.mark.clients
@pytest.mark.parametrize("requirement", PACKAGES)
def test_a_client_of_python_gets_the_librarys_bits(case: Path, requirement: str) -> None:
    environment = own_directory(requirement)
    python = environment / "bin" / "python"
    if not (environment / "done").exists():
        run(sys.executable, "-m", "venv", "--clear", environment)
        run(python, "-m", "pip", "install", "--quiet", "numpy", *requirement.split())
        (environment / "done").touch()
    run(python, PROGRAMS / PACKAGES[requirement], case)


@pytest.mark.clients
@pytest.mark.skipif(not shutil.which("npm"), reason="npm is not installed")
@pytest.mark.parametrize("requirement", NPM)
def test_a_client_of_javascript_gets_the_librarys_bits(case: Path, requirement: str) -> None:
    environment = own_directory(requirement)
    if not (environment / "done").exists():
        environment.mkdir(parents=True, exist_ok=True)
        run("npm", "install", "--silent", "--no-audit", "--no-fund", "--prefix", environment, requirement)
        (environment / "done").touch()
    run("node", PROGRAMS / "openai_embeddings.mjs", case, environment)
