"""Where the time of a run goes, by ONNX Runtime's profiler: ``python -m benchmarks.operators``.

bge-small's architecture with random weights, int8, one text on one thread; into ``results/operators.json``.
"""

import json
import statistics
import tempfile
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.checkpoints import write_bge_small
from benchmarks.machine import machine, machine_text
from benchmarks.speed.tables import markdown
from embedge.bundle import Bundle
from embedge.engine.capabilities import capabilities
from embedge.engine.choose import choose
from embedge.engine.ort import CPU, onnxruntime
from embedge.engine.weights import Unsigned
from embedge_export import export

RESULTS = Path(__file__).parent / "results" / "operators.json"
LENGTHS = (16, 128, 512)
_RUNS = 30
_WARM = 5


def main() -> None:
    """Measure and write."""
    with tempfile.TemporaryDirectory() as name:
        write_bge_small(Path(name, "checkpoint"))
        export(Path(name, "checkpoint"), Path(name, "bundle"))
        results = {"machine": machine(), **measure(Path(name, "bundle"), LENGTHS, _RUNS)}
    RESULTS.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    print(table(results))


def measure(path: Path, lengths: Sequence[int], runs: int) -> dict[str, Any]:
    """Median milliseconds of the operators of one run, and the share of each, for each of ``lengths`` in tokens."""
    found = {}
    for tokens in lengths:
        times = _profile(Bundle.open(path), tokens, runs)
        medians = {operator: statistics.median(of_runs) for operator, of_runs in times.items()}
        whole = sum(medians.values())
        ordered = sorted(medians, key=lambda operator: -medians[operator])
        shares = {operator: round(medians[operator] / whole, 4) for operator in ordered}
        found[str(tokens)] = {"ms": round(whole, 3), "shares": shares}
    return {"runs": runs, "threads": 1, "tokens": found}


def table(results: dict[str, Any]) -> str:
    """The results as Markdown: per cent of the operators' time; those below 1 % everywhere are one row."""
    found = results["tokens"]
    operators = sorted({name for one in found.values() for name in one["shares"]}, key=lambda name: _share(found, name))
    shown = [name for name in reversed(operators) if max(_shares(found, name)) >= 0.01]
    lines = [["operator, % of the time", *(f"{tokens} tokens" for tokens in found)]]
    lines += [[f"`{name}`", *(f"{100 * share:.0f}" for share in _shares(found, name))] for name in shown]
    rest = [1 - sum(one["shares"].get(name, 0) for name in shown) for one in found.values()]
    lines += [["the rest", *(f"{100 * share:.0f}" for share in rest)]]
    lines += [["operators in all, ms", *(f"{one['ms']:.1f}" for one in found.values())]]
    return (
        f"{markdown(lines)}\nMedians of {results['runs']} runs of a text on one thread, with the profiler on; "
        f"{machine_text(results['machine'])}.\n"
    )


def _shares(found: dict[str, Any], operator: str) -> list[float]:
    return [one["shares"].get(operator, 0.0) for one in found.values()]


def _share(found: dict[str, Any], operator: str) -> float:
    return sum(_shares(found, operator))


def _profile(bundle: Bundle, tokens: int, runs: int) -> dict[str, list[float]]:
    """Milliseconds of each operator in each of ``runs`` runs of a text of ``tokens`` tokens."""
    variant = bundle.manifest.variants["int8"]
    # The operators of ONNX Runtime, also where those of embedge-kernels are installed.
    graph = choose(bundle.manifest.variants, "int8", CPU, capabilities()._replace(kernels=False)).graph
    options = onnxruntime.SessionOptions()  # as embedge.engine.sessions makes them
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.enable_mem_pattern = False
    unsigned = Unsigned.load(bundle.file(variant.weights), variant.codes) if graph.unsigned else None
    for name, value in unsigned.values.items() if unsigned else ():
        options.add_initializer(name, value)
    with tempfile.TemporaryDirectory() as place:
        options.enable_profiling = True
        options.profile_file_prefix = f"{place}/profile"
        session = onnxruntime.InferenceSession(str(bundle.file(graph.file)), options, providers=[CPU])
        ids = np.random.default_rng(0).integers(1000, 20000, (1, tokens))
        for _ in range(_WARM + runs):
            session.run(None, {"input_ids": ids})
        events = json.loads(Path(session.end_profiling()).read_text())
    return _by_operator(events, runs)


def _by_operator(events: list[dict[str, Any]], runs: int) -> dict[str, list[float]]:
    """Milliseconds of each operator in each of the last ``runs`` runs that a profile has."""
    ends = sorted(event["ts"] + event["dur"] for event in events if event["name"] == "model_run")
    first = len(ends) - runs
    times: dict[str, list[float]] = defaultdict(lambda: [0.0] * runs)
    for event in events:
        if event.get("cat") == "Node" and event["name"].endswith("_kernel_time"):
            run = sum(end < event["ts"] for end in ends) - first
            if run >= 0:
                times[event["args"]["op_name"]][run] += event["dur"] / 1e3
    return dict(times)


if __name__ == "__main__":
    main()
