"""A whole pass, a load and their memory by both of int8's graphs, on one thread, and the steps of a layer.

``python -m benchmarks.kernels`` (``make kernels``) exports bge-small's architecture with random weights, and writes
``benchmarks/results/kernels-KIND.json``, KIND being that of the CPU. Times are those of the thread, not of the clock:
on a machine that others use they are nearer to what an idle one gives.
"""

import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import recipe
from benchmarks.checkpoints import write_bge_small
from benchmarks.kernels.tables import table
from benchmarks.machine import cpu_kind, machine
from benchmarks.speed import texts
from embedge import Bundle, Embedder
from embedge.engine.capabilities import capabilities
from embedge.engine.choose import Choice, choose
from embedge.engine.ort import CPU, onnxruntime
from embedge_export import export

RESULTS = Path(__file__).parents[1] / "results"
GOALS = {8: 1.8, 16: 1.7, 32: 1.6, 128: 1.5, 512: 1.5}
"""Tokens of a text, and how many times the speed of ONNX Runtime's kernels it is to have."""
_ROUNDS = 30
_LOADS = 9

_LOAD = """
import sys, time
from embedge import Bundle, Embedder
from embedge.engine.choose import Choice
bundle = Bundle.open(sys.argv[1])
graph = next(graph for graph in bundle.manifest.variants["int8"].graphs if graph.file == sys.argv[2])
began = time.process_time()
model = Embedder.start(bundle, Choice("int8", graph), threads=1)
model.embed(["What runs at the edge, and how fast does it answer? " * 8])
took = time.process_time() - began
print(took * 1e3, int(open("/proc/self/status").read().partition("VmHWM:")[2].split()[0]) / 1e3)
"""


def main() -> None:
    """Measure, write and print, with what missed its goal."""
    with tempfile.TemporaryDirectory() as place:
        write_bge_small(Path(place, "checkpoint"))
        bundle = Bundle.open(export(Path(place, "checkpoint"), Path(place, "bundle"), precision=["int8"]).path)
        graphs = choices(bundle)
        passes = compare(bundle, graphs)
        loads = {name: load(bundle, choice) for name, choice in graphs.items()}
        steps = measure_steps(Path(place))
        with Embedder.start(bundle, graphs["kernels"], threads=1) as model:
            kernels = model.kernels
    results: dict[str, Any] = {
        "machine": machine(),
        "kernels": kernels,
        "stock": graphs["stock"].graph.file,
        "onnxruntime": onnxruntime.__version__,
        "passes": passes,
        "loads": loads,
        "steps": steps,
    }
    path = RESULTS / f"kernels-{cpu_kind()}.json"
    path.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    print(table(results))
    missed = [row["tokens"] for row in passes if row["ratio"] < row["goal"]]
    print(f"wrote {path}" + "".join(f"\nmissed: {tokens} tokens" for tokens in missed))


def choices(bundle: Bundle) -> dict[str, Choice]:
    """int8 by the kernels, and by the graph that runs without them."""
    found = capabilities()
    variants = bundle.manifest.variants
    return {
        "stock": choose(variants, "int8", CPU, found._replace(kernels=False)),
        "kernels": choose(variants, "int8", CPU, found),
    }


def compare(bundle: Bundle, graphs: Mapping[str, Choice]) -> list[dict[str, Any]]:
    """Medians of a text's time by both, in turn, in the same minutes."""
    rows = []
    models = {name: Embedder.start(bundle, choice, threads=1) for name, choice in graphs.items()}
    for tokens, goal in GOALS.items():
        (text,) = texts.texts_of(tokens, 1)
        ids = models["stock"]._tokenizer.encode([text]).ids
        took: dict[str, list[float]] = {name: [] for name in models}
        for number in range(-2, _ROUNDS):
            for name, model in models.items():
                began = time.thread_time()
                model._engine.run(ids)
                if number >= 0:
                    took[name].append(1e3 * (time.thread_time() - began))
        ms = {name: statistics.median(times) for name, times in took.items()}
        rows.append(
            {
                "tokens": tokens,
                "ms": {name: round(value, 3) for name, value in ms.items()},
                "ratio": round(ms["stock"] / ms["kernels"], 3),
                "goal": goal,
            }
        )
    return rows


def load(bundle: Bundle, choice: Choice) -> dict[str, float]:
    """Processor time from an open bundle to the vector of a text of some 100 tokens, and the process's peak memory."""
    command = [sys.executable, "-c", _LOAD, str(bundle.path), choice.graph.file]
    found = [
        [float(figure) for figure in subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()]
        for _ in range(_LOADS)
    ]
    milliseconds, megabytes = zip(*found, strict=True)
    return {"ms": round(statistics.median(milliseconds), 1), "peak_mb": round(statistics.median(megabytes), 1)}


def measure_steps(place: Path) -> list[dict[str, float]]:
    """What ``steps.cpp`` prints."""
    program = recipe.compile_program(Path(__file__).with_name("steps.cpp"), place)
    printed = subprocess.run([program], check=True, capture_output=True, text=True).stdout
    return [json.loads(line) for line in printed.splitlines()]


if __name__ == "__main__":
    main()
