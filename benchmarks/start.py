"""What a cold start costs: the way to the first vector step by step, and its memory, beside importing the libraries.

``python -m benchmarks.start`` exports bge-small's architecture with random weights, writes
``benchmarks/results/start.json``, and fails where a goal is missed.
"""

import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.checkpoints import write_bge_small
from benchmarks.machine import machine, machine_text
from benchmarks.speed.tables import markdown
from embedge_export import export

RESULTS = Path(__file__).parent / "results" / "start.json"
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
# The same by the parts that Embedder.load puts together, with the clock read after each.
_STEPS = """
import time
marks = [("start Python", time.monotonic())]
def done(step): marks.append((step, time.monotonic()))
import json, sys
import numpy
done("import numpy")
from embedge.engine.ort import CPU, onnxruntime
done("import onnxruntime")
import tokenizers
done("import tokenizers")
from embedge import engine
from embedge.bundle import Bundle
from embedge.embedder import Embedder
from embedge.engine.capabilities import capabilities
from embedge.engine.choose import choose
from embedge.engine.cpus import cpu_budget
from embedge.tokenizer import Tokenizer
done("import embedge")
bundle = Bundle.open(sys.argv[1])
bundle.ensure_sealed("int8")
done("open the bundle")
choice = choose(bundle.manifest.variants, "int8", CPU, capabilities())
done("probe the CPU")
manifest = bundle.manifest
tokenizer = Tokenizer(bundle.file("tokenizer.json"), manifest.max_tokens, manifest.tokenizer)
done("read tokenizer.json")
parts = engine.load(bundle, choice, threads=cpu_budget().threads, providers=[CPU])
done("make the session")
Embedder(bundle, choice, tokenizer, parts, cpu_budget().threads, (None, [CPU])).embed_query("What runs at the edge?")
done("first run")
print(json.dumps(marks), flush=True)
"""


def main() -> int:
    """Measure; 1 where a goal is missed."""
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        write_bge_small(place / "checkpoint")
        export(place / "checkpoint", place / "bundle")
        results = {"machine": machine(), **measure(place / "bundle", _ROUNDS)}
    RESULTS.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    print(table(results))
    for miss in results["missed"]:
        print(f"missed: {miss}", file=sys.stderr)
    return 1 if results["missed"] else 0


def measure(bundle: Path, rounds: int) -> dict[str, Any]:
    """Seconds of the whole ways and of each step, their ratio, peak memory, and which goals are missed."""
    peaks: list[int] = []
    steps: list[dict[str, float]] = []

    def libraries() -> float:
        return _run(_LIBRARIES, bundle)[0]

    def first_vector() -> float:
        seconds, peak = _run(_FIRST_VECTOR, bundle)
        peaks.append(peak)
        return seconds

    def first_vector_with_hashing() -> float:
        # The run that hashes leaves the note that lets the next one not hash.
        (bundle / ".verified").unlink(missing_ok=True)
        return first_vector()

    def by_step() -> float:
        began = last = time.monotonic()
        seconds, marks = _run(_STEPS, bundle)
        steps.append({})
        for step, at in marks:
            steps[-1][step] = at - last
            last = at
        assert last - began <= seconds + 0.01
        return seconds

    ways: dict[str, Callable[[], float]] = {
        "libraries": libraries,
        "first_vector_with_hashing": first_vector_with_hashing,
        "first_vector": first_vector,
        "steps": by_step,
    }
    for way in ways.values():
        way()  # fills the caches
    peaks.clear()
    steps.clear()
    # They take turns, so that all meet the same load of the machine.
    seconds = [{name: way() for name, way in ways.items()} for _ in range(rounds)]
    found: dict[str, Any] = {
        "rounds": rounds,
        "seconds": {name: _spread([one[name] for one in seconds]) for name in ways if name != "steps"},
        "steps": {name: _spread([one[name] for one in steps]) for name in steps[0]},
        "to_libraries": {
            name: _spread([one[name] / one["libraries"] for one in seconds])
            for name in ("first_vector", "first_vector_with_hashing")
        },
        "peak_mb": round(statistics.median(peaks) * 1024 / 1e6, 1),
    }
    judged = {
        "first_vector_to_libraries": found["to_libraries"]["first_vector"]["median"],
        "peak_mb": found["peak_mb"],
    }
    missed = [f"{name} is {judged[name]:.2f}, more than {goal}" for name, goal in GOALS.items() if judged[name] > goal]
    return {**found, "missed": missed}


def table(results: dict[str, Any]) -> str:
    """The results as Markdown: milliseconds, with the whole range."""

    def milliseconds(name: str, spread: dict[str, float]) -> list[str]:
        return [name, *(f"{1e3 * spread[key]:.0f}" for key in ("median", "min", "max"))]

    def ratio(name: str, spread: dict[str, float]) -> list[str]:
        return [name, *(f"{spread[key]:.2f}" for key in ("median", "min", "max"))]

    seconds, ratios = results["seconds"], results["to_libraries"]
    lines = [
        ["bge-small's architecture, int8: ms", "median", "min", "max"],
        *(milliseconds(step, spread) for step, spread in results["steps"].items()),
        milliseconds("**process to first vector**", seconds["first_vector"]),
        milliseconds("the first time, when it hashes the bundle", seconds["first_vector_with_hashing"]),
        milliseconds("imports and `tokenizer.json` only", seconds["libraries"]),
        ratio("ratio of first vector to imports", ratios["first_vector"]),
        ratio("the first time", ratios["first_vector_with_hashing"]),
    ]
    return (
        f"{markdown(lines)}\nPeak memory: {results['peak_mb']:.0f} MB. {results['rounds']} rounds, "
        f"{machine_text(results['machine'])}.\n"
    )


def _run(code: str, bundle: Path) -> tuple[float, Any]:
    """Seconds from the start of a process until it prints, and what it printed, from JSON."""
    start = time.perf_counter()
    with subprocess.Popen([sys.executable, "-c", code, str(bundle)], stdout=subprocess.PIPE) as process:
        assert process.stdout
        told = process.stdout.readline()
        return time.perf_counter() - start, json.loads(told)


def _spread(values: list[float]) -> dict[str, float]:
    return {
        "median": round(statistics.median(values), 4),
        "min": round(min(values), 4),
        "max": round(max(values), 4),
    }


if __name__ == "__main__":
    sys.exit(main())
