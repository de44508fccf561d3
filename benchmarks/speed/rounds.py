"""What the programs of this folder have in common: preparing, the search for the tuned rows, and the rounds."""

import statistics
import time
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks.speed.entries import Entry, search, with_tuned
from benchmarks.speed.environments import Unavailable, installed_mb, python_of
from benchmarks.speed.models import prepare


def prepare_all(defaults: Sequence[Entry], checkpoints: Sequence[str]) -> tuple[dict[str, Path], dict[str, str]]:
    """Environments and models: the directory of each checkpoint's files, and why contenders are unavailable."""
    unavailable: dict[str, str] = {}
    for entry in defaults:
        try:
            python_of(entry.constants["ENVIRONMENT"])
        except Unavailable as exc:
            unavailable[entry.contender] = str(exc)
    wanted = [entry for entry in defaults if entry.contender not in unavailable]
    places = {}
    for checkpoint in checkpoints:
        places[checkpoint], failed = prepare(
            checkpoint, {step for entry in wanted for step in entry.constants["PREPARED_BY"]}
        )
        for entry in wanted:
            for step in failed.keys() & entry.constants["PREPARED_BY"]:
                unavailable[entry.contender] = failed[step]
    return places, unavailable


def tune(
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


def outputs(
    entries: Sequence[Entry], models: Path, threads: int, unavailable: dict[str, str]
) -> dict[str, npt.NDArray[Any]]:
    """Each entry's vectors, or scores, of the texts for fidelity; those that give none become ``unavailable``."""
    found = {}
    for entry in entries:
        try:
            found[entry.name] = np.array(entry.run(models, threads, "vectors")["vectors"])
        except Unavailable as exc:
            unavailable[entry.contender] = f"no vectors: {exc}"
    return found


def run_rounds(
    entries: list[Entry], models: Path, threads: int, count: int, task: str, unavailable: dict[str, str]
) -> dict[str, list[dict[str, Any]]]:
    """What each entry's workers measured in ``count`` rounds of ``task``; those that fail become ``unavailable``."""
    rounds: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for number in range(count):
        # Another one begins each round, so that none always follows the same neighbour's heat.
        first = number * len(entries) // count
        for entry in entries[first:] + entries[:first]:
            if entry.contender in unavailable:
                continue
            began = time.perf_counter()
            try:
                rounds[entry.name].append(entry.run(models, threads, task))
            except Unavailable as exc:
                unavailable[entry.contender] = str(exc)
                continue
            print(f"round {number + 1}: {entry.name}: {time.perf_counter() - began:.1f} s", flush=True)
    return rounds


def row(entry: Entry, models: Path, rounds: list[dict[str, Any]]) -> dict[str, Any]:
    """An entry of a results file."""
    return {
        "label": entry.label,
        "contender": entry.contender,
        "tuned": entry.tuned,
        "knobs": entry.knobs._asdict(),
        "packages": entry.constants["PACKAGES"],
        "installed_mb": round(installed_mb(entry.constants["ENVIRONMENT"]), 1),
        "files_mb": round(_files_mb(models, entry.constants["FILES"]), 1),
        **_summary(rounds),
    }


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
