"""How embedge's own time and memory grow with the size of a run, the length of a text and the size of a corpus.

Each corpus size runs in a process of its own, since a process's peak memory never falls.
"""

import argparse
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.machine import machine
from benchmarks.speed import texts
from benchmarks.speed.environments import ROOT
from benchmarks.speed.models import prepare
from embedge import Embedder

RESULTS = ROOT / "benchmarks" / "results"
_LENGTHS = (8, 16, 32, 64, 128, 256, 512)
_LISTS = (1, 2, 4, 8, 16, 32, 64, 128, 256)
_CORPORA = (100, 1_000, 10_000, 100_000)
_ROUNDS = 5
# Texts of a corpus are 6 to 20 tokens long, as short as queries, so that 100,000 take minutes and not an hour.
_SHORTEST, _LONGEST = 6, 20


def main() -> None:
    options = _options()
    if options.corpus:
        print(json.dumps(_embed_corpus(options.bundle, options.corpus)))
        return
    place, _ = prepare("bge-small", set())
    with Embedder.load(place / "bundle", variant="int8") as model:
        results: dict[str, Any] = {
            "machine": machine(),
            "threads": model.threads,
            "by_length": interleaved(model, {tokens: texts.texts_of(tokens, 1) for tokens in _LENGTHS}, _ROUNDS),
            "by_list": interleaved(model, {count: texts.texts_of(16, count) for count in _LISTS}, _ROUNDS),
            "by_corpus": [],
        }
    for count in _CORPORA:
        command = [
            sys.executable,
            "-m",
            "benchmarks.speed.growth",
            "--bundle",
            str(place / "bundle"),
            "--corpus",
            str(count),
        ]
        output = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT).stdout
        results["by_corpus"].append(json.loads(output.splitlines()[-1]))
        print(results["by_corpus"][-1], flush=True)
    for name in ("by_length", "by_list"):
        for row in results[name]:
            print(name, row)
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "growth.json").write_text(json.dumps(results, indent=1) + "\n")
    print(f"written to {(RESULTS / 'growth.json').relative_to(ROOT)}")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bundle", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--corpus", type=int, help=argparse.SUPPRESS)
    return parser.parse_args()


def interleaved(model: Embedder, lists: dict[int, list[str]], rounds: int) -> list[dict[str, float]]:
    """Median microseconds a token for each list, the rounds going through all lists in turn."""
    times: dict[int, list[float]] = {size: [] for size in lists}
    for _ in range(rounds):
        for size, some in lists.items():
            model.embed(some)  # the threads of the size before are still waiting busily
            start = time.perf_counter()
            model.embed(some)
            times[size].append(time.perf_counter() - start)
    tokens = {size: sum(len(text.split()) + 2 for text in some) for size, some in lists.items()}
    return [{"size": size, "us_per_token": 1e6 * statistics.median(times[size]) / tokens[size]} for size in lists]


def _embed_corpus(bundle: Path, count: int) -> dict[str, float]:
    """Time for a token, and peak memory, of ``count`` texts that are made as they are asked for."""
    spread = _LONGEST - _SHORTEST + 1

    def stream() -> Iterator[str]:
        for number in range(count):
            yield texts.text_of(_SHORTEST + number % spread, number)

    tokens = sum(_SHORTEST + number % spread for number in range(count))
    making = time.perf_counter()
    for _ in stream():
        pass
    making = time.perf_counter() - making
    with Embedder.load(bundle, variant="int8") as model:
        model.embed(["warm"] * 20)
        start = time.perf_counter()
        for _ in model.embed_iter(stream()):
            pass
        seconds = time.perf_counter() - start - making
    status = Path("/proc/self/status").read_text()
    peak = next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM"))
    return {"size": count, "us_per_token": 1e6 * seconds / tokens, "peak_rss_mb": peak / 1024}


if __name__ == "__main__":
    main()
