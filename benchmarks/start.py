"""What a start costs: the way to the first vector, and its memory, beside importing the libraries that it needs.

``python -m benchmarks.start`` exports bge-small's architecture with random weights, writes
``benchmarks/results/start.json``, and fails where a goal is missed.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from benchmarks.checkpoints import write_bge_small
from embedge.engine.cpus import cpu_features, cpu_name
from embedge_export import export

_OUT = Path(__file__).parent / "results" / "start.json"
_ROUNDS = 15
GOALS = {"first_vector_to_libraries": 1.35, "peak_mb": 130}
"""What must not be exceeded: a ratio of seconds, and megabytes."""

_LIBRARIES = """
import sys, numpy, onnxruntime, tokenizers
tokenizers.Tokenizer.from_file(sys.argv[1] + "/tokenizer.json")
print(0, flush=True)
"""
_FIRST_VECTOR = """
import sys
from embedge import Embedder
model = Embedder.load(sys.argv[1], variant="int8")
model.embed_query("What runs at the edge?")
# Not ru_maxrss, which a new process takes over from the one that started it.
print(open("/proc/self/status").read().partition("VmHWM:")[2].split()[0], flush=True)
"""


def main() -> int:
    """Measure; 1 where a goal is missed."""
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        write_bge_small(place / "checkpoint")
        export(place / "checkpoint", place / "bundle")
        bundle, peaks = place / "bundle", []

        def first_vector() -> float:
            seconds, peak = _run(_FIRST_VECTOR, bundle)
            peaks.append(peak)
            return seconds

        def first_vector_with_hashing() -> float:
            (bundle / ".verified").unlink(missing_ok=True)
            return first_vector()

        # The run that hashes leaves the note that lets the next one not hash.
        runs = [lambda: _run(_LIBRARIES, bundle)[0], first_vector_with_hashing, first_vector]
        libraries, hashing, first = _medians(runs)
    found = {"first_vector_to_libraries": first / libraries, "peak_mb": statistics.median(peaks) * 1024 / 1e6}
    missed = [f"{name} is {found[name]:.2f}, more than {goal}" for name, goal in GOALS.items() if found[name] > goal]
    seconds = {"libraries": libraries, "first_vector": first, "first_vector_with_hashing": hashing}
    machine = {"cpu": cpu_name(), "features": cpu_features(), "cpus": os.cpu_count()}
    results = {"machine": machine, "rounds": _ROUNDS, "seconds": seconds, **found, "missed": missed}
    _OUT.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(results, indent=1))
    return 1 if missed else 0


def _run(code: str, bundle: Path) -> tuple[float, int]:
    """Seconds from the start of a process until it prints, and the number that it printed."""
    start = time.perf_counter()
    with subprocess.Popen([sys.executable, "-c", code, str(bundle)], stdout=subprocess.PIPE) as process:
        assert process.stdout
        told = process.stdout.readline()
        return time.perf_counter() - start, int(told)


def _medians(runs: list[Callable[[], float]]) -> list[float]:
    """Median seconds of each of ``runs``, which take turns so that all meet the same load of the machine."""
    for once in runs:
        once()  # fills the caches
    measured = [[once() for once in runs] for _ in range(_ROUNDS)]
    return [statistics.median(column) for column in zip(*measured, strict=True)]


if __name__ == "__main__":
    sys.exit(main())
