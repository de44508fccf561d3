"""What is measured of a running server; each function returns plain figures for the results file."""

import http.client
import json
import socket
import statistics
import threading
import time
from typing import Any
from urllib.parse import urlsplit

from benchmarks.server.load import load, request
from benchmarks.server.servers import Running
from benchmarks.speed.texts import corpus, texts_of
from embedge import Embedder

CONNECTIONS = (1, 16, 64, 256)
FLOOD_CONNECTIONS = 2000
FLOOD_FLAGS = ("--max-queued-tokens", "2048", "--max-requests", "256")
_TEXTS = 32
_BULK_CONNECTIONS, _BULK_REQUESTS = 4, 12
_QUERY_TOKENS = 16
_LONE_ROUNDS, _LONE_QUERIES = 10, 20
# Threads that a text was spread over wait busily for this long, which would disturb what is measured next.
_QUIET_S = 0.15


def queries(server: Running, model: str, seconds: float) -> dict[str, Any]:
    """Single queries of 16 tokens, by the number of connections that send one after the other."""
    requests = [request([text], model) for text in texts_of(_QUERY_TOKENS, 20)]
    found = {}
    for connections in CONNECTIONS:
        # What an earlier load left behind is done first; not all servers drop it when its clients are gone.
        load(server.url, requests, connections=1, seconds=0, amount=1)
        done = load(server.url, requests, connections=connections, seconds=seconds)
        found[str(connections)] = {
            "p50_ms": done.p50_ms,
            "p99_ms": done.p99_ms,
            "per_s": done.per_s,
            "statuses": done.statuses,
            "errors": done.errors,
        }
    return found


def bulk(server: Running, model: str) -> float:
    """Texts a second in requests of 32 paragraphs, until all are answered: some servers take long for one."""
    texts = _paragraphs()
    requests = [request(texts[start : start + _TEXTS], model) for start in range(0, len(texts), _TEXTS)]
    done = load(server.url, requests, connections=_BULK_CONNECTIONS, seconds=0, amount=_BULK_REQUESTS)
    return _TEXTS * done.per_s


def library_bulk(library: Embedder, seconds: float) -> float:
    """Texts a second of the same paragraphs, in one list."""
    texts, done = _paragraphs(), 0
    began = time.perf_counter()
    while time.perf_counter() - began < seconds:
        library.embed(texts)
        done += len(texts)
    return done / (time.perf_counter() - began)


def lone_queries(server: Running, model: str, library: Embedder) -> dict[str, float]:
    """Milliseconds of a query alone, through the server and by the library, in turns: medians."""
    texts = texts_of(_QUERY_TOKENS, _LONE_QUERIES)
    through, direct = [], []
    connection = http.client.HTTPConnection(urlsplit(server.url).netloc)
    connection.connect()
    connection.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    for number in range(_LONE_ROUNDS):
        for text in texts:
            began = time.perf_counter()
            connection.request("POST", "/v1/embeddings", request([text], model)["body"], _JSON)
            json.loads(connection.getresponse().read())["data"][0]["embedding"]
            through.append(time.perf_counter() - began)
        time.sleep(_QUIET_S)
        for text in texts:
            began = time.perf_counter()
            library.embed([text])
            direct.append(time.perf_counter() - began)
        time.sleep(_QUIET_S)
        if number == 0:  # sessions are made, connections opened
            through, direct = [], []
    connection.close()
    return {
        "server_ms": statistics.median(through) * 1e3,
        "library_ms": statistics.median(direct) * 1e3,
        "overhead_ms": (statistics.median(through) - statistics.median(direct)) * 1e3,
    }


_JSON = {"content-type": "application/json"}


def flood(server: Running, library: Embedder, seconds: float) -> dict[str, Any]:
    """2,000 connections against a small queue."""
    texts = texts_of(_QUERY_TOKENS, 20)
    requests = [request([text], "", library.embed([text])) for text in texts]
    done = load(server.url, requests, connections=FLOOD_CONNECTIONS, seconds=seconds)
    return {"flags": FLOOD_FLAGS, **done._asdict()}


def soak(server: Running, library: Embedder, seconds: float) -> dict[str, Any]:
    """As many requests as it takes, of 1 to 32 texts, each answer compared; and how its memory grows."""
    texts = _paragraphs()
    sizes = [1, 32, 3, 8, 1, 16, 1, 2]
    parts, start = [], 0
    for size in sizes * 2:
        parts.append(texts[start : start + size])
        start = (start + size) % (len(texts) - max(sizes))
    requests = [request(part, "", library.embed(part)) for part in parts]
    memory: list[tuple[float, float]] = []
    ended = threading.Event()
    began = time.monotonic()

    def watch() -> None:
        while not ended.wait(1):
            memory.append((time.monotonic() - began, server.memory_mb()))

    watching = threading.Thread(target=watch)
    watching.start()
    try:
        done = load(server.url, requests, connections=32, seconds=seconds)
    finally:
        ended.set()
        watching.join()
    settled = min(60.0, seconds / 2)
    early = max(mb for at, mb in memory if at <= settled)
    late = max(mb for at, mb in memory if at > settled)
    return {**done._asdict(), "memory_mb": [early, late], "growth": late / early - 1, "settled_after_s": settled}


def _paragraphs() -> list[str]:
    """128 paragraphs, so that they fill requests of 32."""
    return corpus()[: 4 * _TEXTS]
