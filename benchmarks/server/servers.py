"""The servers that are loaded: ours as the sources are, others in environments of their own, on the same checkpoint."""

import os
import socket
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from benchmarks.speed.environments import Unavailable, python_of

_START_S = 300


class Server(NamedTuple):
    """A server of one checkpoint with an OpenAI route."""

    label: str
    environment: str
    """Of ``benchmarks/speed/requirements``."""
    packages: tuple[str, ...]
    step: str | None
    """The step of ``benchmarks/speed/models.py`` that makes what it loads."""
    command: Callable[[Path, Path, int, int], Sequence[str | Path]]
    """Of its environment's ``bin``, the directory of models, threads and a port."""
    ready: str
    """The path that answers 200 when it is ready."""
    model: str


def _embedge(tools: Path, models: Path, threads: int, port: int) -> Sequence[str | Path]:
    return [tools / "embedge", "serve", models / "bundle", "--port", str(port), "--threads", str(threads)]


def _infinity(tools: Path, models: Path, threads: int, port: int) -> Sequence[str | Path]:
    return [
        *(tools / "infinity_emb", "v2", "--model-id", models / "checkpoint", "--served-model-name", "model"),
        *("--engine", "torch", "--device", "cpu", "--no-bettertransformer", "--url-prefix", "/v1"),
        *("--host", "127.0.0.1", "--port", str(port), "--log-level", "error"),
    ]


def _llama_cpp(tools: Path, models: Path, threads: int, port: int) -> Sequence[str | Path]:
    return [
        *(tools / "python", "-m", "llama_cpp.server", "--model", models / "gguf" / "model-q8_0.gguf"),
        *("--model_alias", "model", "--embedding", "true", "--n_ctx", "512", "--n_batch", "512", "--n_ubatch", "512"),
        *("--n_threads", str(threads), "--n_threads_batch", str(threads), "--port", str(port), "--verbose", "false"),
    ]


SERVERS = {
    "embedge": Server("embedge int8", "embedge-server", ("embedge", "uvicorn"), None, _embedge, "/health/ready", ""),
    "infinity": Server(
        "infinity-emb, torch", "infinity", ("infinity-emb", "torch"), None, _infinity, "/v1/models", "model"
    ),
    "llama_cpp": Server(
        "llama.cpp Q8_0", "llama-cpp-server", ("llama-cpp-python",), "gguf_file", _llama_cpp, "/v1/models", "model"
    ),
}


class Running(NamedTuple):
    """A server that answers."""

    url: str
    process: "subprocess.Popen[bytes]"

    def memory_mb(self) -> float:
        """What lies in memory of it now."""
        pages = int(Path(f"/proc/{self.process.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


@contextmanager
def running(server: Server, models: Path, threads: int, *flags: str) -> Iterator[Running]:
    """``server`` while it runs, by its own command with ``flags`` behind it.

    Raises:
        Unavailable: it can't be installed, or does not start.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    tools = python_of(server.environment).parent
    count = {name: str(threads) for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")}
    quiet = {"HF_HUB_OFFLINE": "1", "PYTHONWARNINGS": "ignore", "DO_NOT_TRACK": "1"}
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(
            [*server.command(tools, models, threads, port), *flags],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env={**os.environ, **count, **quiet},
        )
        try:
            url = f"http://127.0.0.1:{port}"
            deadline = time.monotonic() + _START_S
            while not _answers(url + server.ready):
                if process.poll() is not None or time.monotonic() > deadline:
                    log.seek(0)
                    reason = " / ".join(log.read().decode(errors="replace").strip().splitlines()[-3:])
                    raise Unavailable(f"it did not start: {reason[-400:]}")
                time.sleep(0.1)
            yield Running(url, process)
        finally:
            process.terminate()
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=2) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False
