"""Little memory: the library and the server with ``low_memory``, beside as usual, each in a process of its own."""

import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

from benchmarks.edge import Row
from benchmarks.edge.served import percentiles, served
from benchmarks.speed.environments import Unavailable
from benchmarks.speed.texts import text_of
from embedge.engine.native import kernels

_PARAGRAPHS = 1000
_QUERIES = 100

# One query, many, and a list; memory as Linux counts it.
_LIBRARY = """
import json, sys, time
from embedge import Embedder
how, queries, paragraphs = json.loads(sys.stdin.read())
def memory(field):
    return int(open("/proc/self/status").read().partition(field + ":")[2].split()[0]) * 1024 / 1e6
with Embedder.load(sys.argv[1], variant="int8", **how) as model:
    model.embed_query(queries[0])
    first = time.time()
    found = {"first": first, "one query": memory("VmHWM"), "threads": model.threads}
    times = []
    for query in queries:
        began = time.perf_counter()
        model.embed_query(query)
        times.append(1e3 * (time.perf_counter() - began))
    began = time.perf_counter()
    model.embed(paragraphs)
    took = time.perf_counter() - began
    print(json.dumps({**found, "times": times, "took": took, "peak": memory("VmHWM"), "now": memory("VmRSS")}))
"""


def measure(bundle: Path) -> list[Row]:
    """With and without the option, and with and without ``embedge-kernels``."""
    if not Path("/proc/self/smaps").is_file():
        raise Unavailable("memory is read from /proc")
    rows = []
    for switch, name in (("1", "embedge-kernels"), ("0", "ONNX Runtime's kernels")):
        if switch == "1" and not kernels().library:
            continue
        for low in (False, True):
            what = f"{'low memory, ' if low else ''}{name}"
            rows.append(_library(bundle, what, low_memory=low, switch=switch))
            rows.append(_server(bundle, what, low_memory=low, switch=switch))
    return rows


def _library(bundle: Path, what: str, *, low_memory: bool, switch: str) -> Row:
    passages = (Path(__file__).parents[2] / "examples" / "passages.txt").read_text(encoding="utf-8").split("\n\n")
    paragraphs = (passages * (_PARAGRAPHS // len(passages) + 1))[:_PARAGRAPHS]
    how = {"low_memory": True} if low_memory else {"threads": 1}
    given = json.dumps([how, [text_of(16, seed) for seed in range(_QUERIES)], paragraphs])
    began = time.time()
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", _LIBRARY, str(bundle)],
        input=given,
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "EMBEDGE_KERNELS": switch},
    )
    found = json.loads(done.stdout)
    return Row(
        target=f"library, {what}",
        deployed_mb=None,
        first_vector_s=found["first"] - began,
        query_ms=statistics.median(found["times"]),
        peak_mb=found["peak"],
        how=f"one thread; {found['one query']:.0f} MB for one query; the peak with {_PARAGRAPHS} paragraphs, "
        f"{len(paragraphs) / found['took']:.0f} a second",
    )


def _server(bundle: Path, what: str, *, low_memory: bool, switch: str) -> Row:
    how = ["--low-memory"] if low_memory else ["--threads", "1"]
    command = [sys.executable, "-m", "embedge", "serve", str(bundle), "--port", "0", "--log-format", "json", *how]
    environment = {**os.environ, "EMBEDGE_KERNELS": switch}
    with served(command, lambda started: started.pid, lambda started: started.terminate(), environment) as server:
        idle = server.memory_mb("VmRSS")
        times = server.queries(_QUERIES)
        after = server.memory_mb("VmRSS")
        server.crowd(16, 512, 2)
        return Row(
            target=f"server, {what}",
            deployed_mb=None,
            first_vector_s=server.first_vector_s,
            query_ms=statistics.median(times),
            peak_mb=server.memory_mb("VmHWM"),
            how=f"one thread; {percentiles(times)}; {idle:.0f} MB after the first query, {after:.0f} MB after "
            f"{_QUERIES} more; the peak with 16 clients at once that send 512 tokens",
        )
