"""Time every contender in turn: fresh processes, interleaved rounds, the same threads, texts and checkpoint.

``python -m benchmarks.speed`` for all of them; ``--quick`` for four, tuned, in five minutes; ``--only NAME,...`` while
working. These two write nothing.
"""

import argparse
import json
import os
import statistics
import sys
import time
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.machine import cpu_kind, machine
from benchmarks.speed.entries import Entry, find, search, with_tuned
from benchmarks.speed.environments import ROOT, Unavailable, installed_mb, python_of
from benchmarks.speed.goals import goals
from benchmarks.speed.models import prepare
from benchmarks.speed.runner import contender_names
from benchmarks.speed.tables import print_speed

RESULTS = ROOT / "benchmarks" / "results"
_QUICK = ("embedge_int8", "fastembed_int8", "ort_dynamic", "openvino_int8")
# The vectors of the others are compared with these; torch's own are as far from embedge's fp32 as rounding goes.
_REFERENCE = ("st_torch", "embedge_fp32")


def main() -> int:
    options = _options()
    began = time.perf_counter()
    defaults = [find(name) for name in options.names]
    places, unavailable = _prepare(defaults)
    models = places["bge-small"]
    entries, searched = _tune(defaults, models, options.threads, unavailable)
    if options.quick:
        entries = [entry for entry in entries if entry.tuned]
    if not entries:
        print("\n".join(f"{name}: {reason}" for name, reason in unavailable.items()), file=sys.stderr)
        return 1
    fidelity = _fidelity(entries, places["minilm"], options.threads, unavailable)
    rounds = _rounds(entries, models, options, unavailable)
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
            entry.name: {
                "label": entry.label,
                "contender": entry.contender,
                "tuned": entry.tuned,
                "knobs": entry.knobs._asdict(),
                "packages": entry.constants["PACKAGES"],
                "installed_mb": round(installed_mb(entry.constants["ENVIRONMENT"]), 1),
                "files_mb": round(_files_mb(models, entry.constants["FILES"]), 1),
                **_summary(rounds[entry.name]),
                "fidelity": fidelity.get(entry.name),
            }
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


def _prepare(defaults: Sequence[Entry]) -> tuple[dict[str, Path], dict[str, str]]:
    """Environments and models: the directory of each checkpoint's files, and why contenders are unavailable."""
    unavailable: dict[str, str] = {}
    for entry in defaults:
        try:
            python_of(entry.constants["ENVIRONMENT"])
        except Unavailable as exc:
            unavailable[entry.contender] = str(exc)
    wanted = [entry for entry in defaults if entry.contender not in unavailable]
    places = {}
    for checkpoint in ("bge-small", "minilm"):
        places[checkpoint], failed = prepare(
            checkpoint, {step for entry in wanted for step in entry.constants["PREPARED_BY"]}
        )
        for entry in wanted:
            for step in failed.keys() & entry.constants["PREPARED_BY"]:
                unavailable[entry.contender] = failed[step]
    return places, unavailable


def _tune(
    defaults: Sequence[Entry], models: Path, threads: int, unavailable: dict[str, str]
) -> tuple[list[Entry], dict[str, dict[str, float]]]:
    """The rows of the run, and what the search for the tuned ones found."""
    entries: list[Entry] = []
    searched = {}
    for default in defaults:
        if default.contender in unavailable:
            continue
        try:
            found = search(default, models, threads)
        except Unavailable as exc:
            unavailable[default.contender] = str(exc)
            continue
        if found:
            searched[default.contender] = found
            print(f"searched: {default.contender}: {found}", flush=True)
        entries += with_tuned(default, found)
    return entries, searched


def _rounds(
    entries: list[Entry], models: Path, options: argparse.Namespace, unavailable: dict[str, str]
) -> dict[str, list[dict[str, Any]]]:
    rounds: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for number in range(options.rounds):
        # Another one begins each round, so that none always follows the same neighbour's heat.
        first = number * len(entries) // options.rounds
        for entry in entries[first:] + entries[:first]:
            if entry.contender in unavailable:
                continue
            began = time.perf_counter()
            try:
                rounds[entry.name].append(entry.run(models, options.threads, "quick" if options.quick else "speed"))
            except Unavailable as exc:
                unavailable[entry.contender] = str(exc)
                continue
            print(f"round {number + 1}: {entry.name}: {time.perf_counter() - began:.1f} s", flush=True)
    return rounds


def _fidelity(
    entries: Sequence[Entry], models: Path, threads: int, unavailable: dict[str, str]
) -> dict[str, dict[str, float]]:
    """Cosines to fp32 on the trained MiniLM; contenders that give no vectors become ``unavailable``."""
    vectors = {}
    for entry in entries:
        try:
            vectors[entry.name] = np.array(entry.run(models, threads, "vectors")["vectors"])
        except Unavailable as exc:
            unavailable[entry.contender] = f"no vectors: {exc}"
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


def _summary(rounds: list[dict[str, Any]]) -> dict[str, Any]:
    """Median, minimum and maximum of each figure over the rounds."""

    def over(values: list[Any]) -> Any:
        if isinstance(values[0], dict):
            if any("error" in value for value in values):
                return next(value for value in values if "error" in value)
            return {key: over([value[key] for value in values]) for key in values[0]}
        if isinstance(values[0], float):
            extremes = [round(min(values), 4), round(max(values), 4)]
            return {"median": round(statistics.median(values), 4), "range": extremes}
        return values[0]

    summary: dict[str, Any] = over(rounds)
    return summary


def _files_mb(models: Path, names: tuple[str, ...]) -> float:
    return sum((models / name).stat().st_size for name in names) / 1e6


if __name__ == "__main__":
    sys.exit(main())
