"""Time every contender in turn: fresh processes, interleaved rounds, the same threads, texts and checkpoint.

``python -m benchmarks.speed`` for all of them; ``--quick`` for five, tuned, in six minutes; ``--only NAME,...`` while
working. These two write nothing.
"""

import argparse
import json
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.machine import cpu_kind, machine
from benchmarks.speed.entries import Entry, find
from benchmarks.speed.environments import ROOT, Unavailable
from benchmarks.speed.goals import goals
from benchmarks.speed.rounds import outputs, prepare_all, row, run_rounds, tune
from benchmarks.speed.runner import contender_names
from benchmarks.speed.tables import print_speed

RESULTS = ROOT / "benchmarks" / "results"
_QUICK = ("embedge_kernels", "embedge_int8", "fastembed_int8", "ort_dynamic", "openvino_int8")
# The vectors of the others are compared with these; torch's own are as far from embedge's fp32 as rounding goes.
_REFERENCE = ("st_torch", "embedge_fp32")


def main() -> int:
    options = _options()
    began = time.perf_counter()
    defaults = [find(name) for name in options.names]
    places, unavailable = prepare_all(defaults, ("bge-small", "minilm"))
    models = places["bge-small"]
    entries, searched = tune(defaults, models, options.threads, unavailable)
    if options.quick:
        entries = [entry for entry in entries if entry.tuned]
    if not entries:
        print("\n".join(f"{name}: {reason}" for name, reason in unavailable.items()), file=sys.stderr)
        return 1
    fidelity = _fidelity(entries, places["minilm"], options.threads, unavailable)
    task = "quick" if options.quick else "speed"
    rounds = run_rounds(entries, models, options.threads, options.rounds, task, unavailable)
    results: dict[str, Any] = {
        "conditions": {
            "checkpoint": "bge-small's architecture, random weights; fidelity: all-MiniLM-L6-v2",
            "threads": options.threads,
            "rounds": options.rounds,
            "quick": options.quick,
            "kind": cpu_kind(),
            **machine(),
        },
        "searched_texts_per_s": searched,
        "contenders": {
            entry.name: {**row(entry, models, rounds[entry.name]), "fidelity": fidelity.get(entry.name)}
            for entry in entries
            if entry.contender not in unavailable
        },
        "unavailable": {find(name).label: reason for name, reason in unavailable.items()},
        "seconds_in_all": round(time.perf_counter() - began),
    }
    results["goals"] = goals(results["contenders"])
    print_speed(results)
    if not options.only and not options.quick:
        RESULTS.mkdir(exist_ok=True)
        file = RESULTS / f"speed-{cpu_kind()}.json"
        file.write_text(json.dumps(results, indent=1) + "\n")
        print(f"written to {file.relative_to(ROOT)}")
    return 0 if "embedge_int8" in results["contenders"] else 1


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--only", metavar="NAME,...", help=f"of {', '.join(contender_names())}")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--rounds", type=int)
    options = parser.parse_args()
    options.names = options.only.split(",") if options.only else list(_QUICK) if options.quick else contender_names()
    unknown = set(options.names) - set(contender_names())
    if unknown:
        parser.error(f"there is no contender {', '.join(sorted(unknown))}; there are {', '.join(contender_names())}")
    options.rounds = options.rounds or (2 if options.quick else 5)
    return options


def _fidelity(
    entries: Sequence[Entry], models: Path, threads: int, unavailable: dict[str, str]
) -> dict[str, dict[str, float]]:
    """Cosines to fp32 on the trained MiniLM; contenders that give no vectors become ``unavailable``."""
    vectors = outputs(entries, models, threads, unavailable)
    reference = next((name for name in _REFERENCE if name in vectors), _REFERENCE[-1])
    if reference not in vectors:
        try:
            ours = find(reference).run(models, threads, "vectors")
        except Unavailable as exc:
            raise SystemExit(f"there is nothing to compare with: {reference}: {exc}") from exc
        vectors[reference] = np.array(ours["vectors"])
    fidelity = {}
    for entry in entries:
        if entry.name in vectors:
            cosines = (vectors[entry.name] * vectors[reference]).sum(axis=1)
            fidelity[entry.name] = {
                "mean_cosine": round(float(cosines.mean()), 6),
                "min_cosine": round(float(cosines.min()), 6),
            }
    return fidelity


if __name__ == "__main__":
    sys.exit(main())
