"""Time every contender in turn: fresh processes, interleaved rounds, the same threads, texts and checkpoint.

``python -m benchmarks.speed`` for all of them, ``--quick`` for four in five minutes, ``--only NAME,...`` while
working; these two write nothing.
"""

import argparse
import json
import os
import platform
import statistics
import sys
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.speed.environments import ROOT, Unavailable, installed_mb, python_of
from benchmarks.speed.goals import goals
from benchmarks.speed.models import prepare
from benchmarks.speed.runner import constants_of, contender_names, run_worker
from benchmarks.speed.tables import print_speed
from embedge.engine.cpus import cpu_name

RESULTS = ROOT / "benchmarks" / "results"
_QUICK = ("embedge_int8", "fastembed_int8", "ort_dynamic", "openvino_int8")
# The vectors of the others are compared with these; torch's own are as far from embedge's fp32 as rounding goes.
_REFERENCE = ("st_torch", "embedge_fp32")


def main() -> int:
    options = _options()
    names = _QUICK if options.quick else ("embedge_fp32", *sorted(set(contender_names()) - {"embedge_fp32"}))
    names = tuple(options.only.split(",")) if options.only else names
    contenders = {name: constants_of(name) for name in names}
    unavailable: dict[str, str] = {}
    for name, constants in contenders.items():
        try:
            python_of(constants["ENVIRONMENT"])
        except Unavailable as exc:
            unavailable[name] = str(exc)
    places = {}
    for checkpoint in ("bge-small", "minilm"):
        steps = {step for name in names if name not in unavailable for step in contenders[name]["PREPARED_BY"]}
        places[checkpoint], failed = prepare(checkpoint, steps)
        for name, constants in contenders.items():
            for step in failed.keys() & constants["PREPARED_BY"]:
                unavailable[name] = failed[step]
    running = [name for name in names if name not in unavailable]
    if not running:
        print("\n".join(f"{name}: {reason}" for name, reason in unavailable.items()), file=sys.stderr)
        return 1
    fidelity = _fidelity(running, contenders, places["minilm"], options.threads, unavailable)
    rounds = _rounds(running, contenders, places["bge-small"], options, unavailable)
    results: dict[str, Any] = {
        "conditions": {
            "checkpoint": "bge-small's shape, random weights; fidelity: all-MiniLM-L6-v2",
            "threads": options.threads,
            "rounds": options.rounds,
            "quick": options.quick,
            **_machine(),
        },
        "contenders": {
            name: {
                "label": constants["LABEL"],
                "packages": constants["PACKAGES"],
                "installed_mb": round(installed_mb(constants["ENVIRONMENT"]), 1),
                "files_mb": round(_files_mb(places["bge-small"], constants["FILES"]), 1),
                **_summary(rounds[name]),
                "fidelity": fidelity.get(name),
            }
            for name, constants in contenders.items()
            if name not in unavailable
        },
        "unavailable": {contenders[name]["LABEL"]: reason for name, reason in unavailable.items()},
    }
    results["goals"] = goals(results["contenders"])
    print_speed(results)
    if not options.only and not options.quick:
        RESULTS.mkdir(exist_ok=True)
        file = RESULTS / "speed.json"
        file.write_text(json.dumps(results, indent=1) + "\n")
        print(f"written to {file.relative_to(ROOT)}")
    return 0 if "embedge_int8" in running and "embedge_int8" not in unavailable else 1


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--only", metavar="NAME,...", help=f"of {', '.join(contender_names())}")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--rounds", type=int)
    options = parser.parse_args()
    unknown = set(options.only.split(",") if options.only else []) - set(contender_names())
    if unknown:
        parser.error(f"there is no contender {', '.join(sorted(unknown))}; there are {', '.join(contender_names())}")
    options.rounds = options.rounds or (2 if options.quick else 3)
    return options


def _rounds(
    names: list[str], contenders: dict[str, Any], models: Path, options: argparse.Namespace, unavailable: dict[str, str]
) -> dict[str, list[dict[str, Any]]]:
    rounds: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for number in range(options.rounds):
        # Another one begins each round, so that none always follows the same neighbour's heat.
        for name in names[number % len(names) :] + names[: number % len(names)]:
            if name in unavailable:
                continue
            try:
                result = run_worker(
                    name, contenders[name], models, options.threads, "quick" if options.quick else "speed"
                )
                starts = [run_worker(name, contenders[name], models, options.threads, "start") for _ in range(2)]
            except Unavailable as exc:
                unavailable[name] = str(exc)
                continue
            result["cold_start_s"] = min(start["cold_start_s"] for start in [result, *starts])
            rounds[name].append(result)
            print(f"round {number + 1}: {name}", flush=True)
    return rounds


def _fidelity(
    names: list[str], contenders: dict[str, Any], models: Path, threads: int, unavailable: dict[str, str]
) -> dict[str, dict[str, float]]:
    """Cosines to fp32 on the trained MiniLM; contenders that give no vectors become ``unavailable``."""
    vectors = {}
    for name in names:
        try:
            vectors[name] = np.array(run_worker(name, contenders[name], models, threads, "vectors")["vectors"])
        except Unavailable as exc:
            unavailable[name] = f"no vectors: {exc}"
    reference = next((name for name in _REFERENCE if name in vectors), _REFERENCE[-1])
    if reference not in vectors:
        try:
            ours = run_worker(reference, constants_of(reference), models, threads, "vectors")
        except Unavailable as exc:
            raise SystemExit(f"there is nothing to compare with: {reference}: {exc}") from exc
        vectors[reference] = np.array(ours["vectors"])
    fidelity = {}
    for name in names:
        if name in vectors:
            cosines = (vectors[name] * vectors[reference]).sum(axis=1)
            mean, least = float(cosines.mean()), float(cosines.min())
            fidelity[name] = {"mean_cosine": round(mean, 6), "min_cosine": round(least, 6)}
    return fidelity


def _summary(rounds: list[dict[str, Any]]) -> dict[str, Any]:
    """Median, least and largest of each figure over the rounds."""

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


def _machine() -> dict[str, Any]:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    flags = next((line.split(":")[1].split() for line in lines if line.startswith("flags")), [])
    wanted = ("avx2", "avx512f", "avx512_vnni", "avx_vnni", "amx_int8")
    return {
        "cpu": cpu_name(),
        "cpu_features": [flag for flag in wanted if flag in flags],
        "cpus": len(os.sched_getaffinity(0)),
        "memory_gb": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
    }


if __name__ == "__main__":
    sys.exit(main())
