"""Time rerankers on 32 candidates of one query, as ``python -m benchmarks.speed`` times embedders.

``python -m benchmarks.speed.rerank`` writes ``results/rerankers-KIND.json``; ``--rounds`` sets how many rounds.
"""

import argparse
import json
import os
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks.machine import cpu_kind, machine
from benchmarks.speed.entries import find
from benchmarks.speed.environments import ROOT
from benchmarks.speed.rounds import outputs, prepare_all, row, run_rounds, tune
from benchmarks.speed.runner import contender_names
from benchmarks.speed.tables import contender_table, figure_text, measured

RESULTS = ROOT / "benchmarks" / "results"
_REFERENCES = ("rerankers.st_torch", "rerankers.st_torch_tuned", "rerankers.embedge_fp32")
_COLUMNS = (
    ("32 of 100 tokens, ms", "of_100_tokens", "ms"),
    ("pairs/s", "of_100_tokens", "pairs_per_s"),
    ("32 paragraphs, ms", "paragraphs", "ms"),
    ("pairs/s", "paragraphs", "pairs_per_s"),
)


def main() -> None:
    """Measure and write."""
    options = _options()
    defaults = [find(name) for name in contender_names("rerankers")]
    places, unavailable = prepare_all(defaults, ["reranker"])
    models = places["reranker"]
    entries, searched = tune(defaults, models, options.threads, unavailable)
    correlation = _correlation(outputs(entries, models, options.threads, unavailable))
    rounds = run_rounds(entries, models, options.threads, options.rounds, "rank", unavailable)
    results: dict[str, Any] = {
        "conditions": {
            "checkpoint": "all-MiniLM-L6-v2's trained encoder with a random head",
            "threads": options.threads,
            "rounds": options.rounds,
            "kind": cpu_kind(),
            **machine(),
        },
        "searched_texts_per_s": searched,
        "contenders": {
            entry.name: {**row(entry, models, rounds[entry.name]), "correlation": correlation[entry.name]}
            for entry in entries
            if entry.contender not in unavailable
        },
        "unavailable": {find(name).label: reason for name, reason in unavailable.items()},
    }
    file = RESULTS / f"rerankers-{cpu_kind()}.json"
    file.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    print(table(results))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--rounds", type=int, default=5)
    return parser.parse_args()


def _correlation(scores: dict[str, npt.NDArray[Any]]) -> dict[str, float]:
    """That of each one's scores with fp32 ones: torch's, or where these are missing embedge's."""
    expected = next(scores[name] for name in _REFERENCES if name in scores)
    return {name: round(float(np.corrcoef(found, expected)[0, 1]), 6) for name, found in scores.items()}


def table(results: dict[str, Any]) -> str:
    """The results as Markdown, the fastest first."""
    header = ["", *(name for name, _, _ in _COLUMNS), "cold start, s", "peak memory, MB", "files, MB", "correlation"]
    contenders = sorted(results["contenders"].values(), key=lambda c: float(c["of_100_tokens"]["ms"]["median"]))
    lines = [header]
    for contender in contenders:
        figures = [contender[work][figure]["median"] for _, work, figure in _COLUMNS]
        figures += [contender[name]["median"] for name in ("cold_start_s", "peak_rss_mb")]
        cells = [*map(figure_text, figures), f"{contender['files_mb']:.0f}", f"{contender['correlation']:.4f}"]
        lines.append([contender["label"], *cells])
    missing = "".join(f"- {label}: not measured: {reason}\n" for label, reason in results["unavailable"].items())
    return f"{contender_table(lines)}\n{missing}{measured(results['conditions'])}\n"


if __name__ == "__main__":
    main()
