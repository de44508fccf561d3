"""``python -m benchmarks.rerankers --checkpoint DIRECTORY``: how near an int8 reranker comes to fp32 on XQuAD.

Each question of the second half of XQuAD has the 20 paragraphs of that half that all-MiniLM-L6-v2 finds for it, which
both variants rank. The first half is what :mod:`benchmarks.train_reranker` trains on. Prints the figures and writes
them to ``results/reranker-quality.json``. Exit codes: 0 both goals are met, or the data is not there; 1 one is missed.
"""

import argparse
import json
import sys
import tempfile
import warnings
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import datasets, metrics
from benchmarks.checkpoints import minilm
from benchmarks.machine import machine
from benchmarks.quality import VARIANTS, print_goals
from benchmarks.quality_goals import Figures, Goal
from benchmarks.speed.tables import markdown
from embedge import Embedder, Reranker
from embedge_export import export

CANDIDATES = 20
RESULTS = Path(__file__).parent / "results" / "reranker-quality.json"
DATA = Path(__file__).parents[2] / "shared" / "data"


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print and write; returns the exit code."""
    parser = argparse.ArgumentParser(prog="benchmarks.rerankers", description="How near int8 rerankers come to fp32.")
    parser.add_argument("--checkpoint", type=Path, required=True, metavar="DIRECTORY", help="a reranker with one score")
    parser.add_argument("--data", type=Path, default=DATA, metavar="DIRECTORY", help="default: %(default)s")
    parser.add_argument("--out", type=Path, default=RESULTS, metavar="JSON", help="default: %(default)s")
    options = parser.parse_args(arguments)
    if missing := datasets.missing_files(options.data):
        print(f"rerankers: skipped, since these are not there: {', '.join(map(str, missing))}")
        return 0
    questions = second_half(datasets.load(options.data).xquad)
    with tempfile.TemporaryDirectory() as place:
        manifest = export(options.checkpoint, Path(place, "reranker"), precision=VARIANTS, on_step=print).manifest
        candidates = find_candidates(questions)
        scores = {variant: score(Path(place, "reranker"), variant, questions, candidates) for variant in VARIANTS}
    figures = compare(questions, candidates, scores["fp32"], scores["int8"])
    reached = goals(figures)
    print(json.dumps(figures, indent=1))
    print_goals(reached)
    conditions = {
        "model": manifest.source._asdict(),
        "machine": machine(),
        "questions": len(questions.queries),
        "paragraphs": len(questions.documents),
        "candidates": candidates.shape[1],
    }
    result: dict[str, Any] = {
        "conditions": conditions,
        "figures": figures,
        "export_cosine": manifest.measured.variants["int8"].fidelity._asdict(),
        "goals": [{**vars(goal), "met": goal.missed_by == 0} for goal in reached],
    }
    options.out.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    print(f"wrote {options.out}")
    missed = [goal for goal in reached if goal.missed_by]
    for goal in missed:
        print(f"rerankers: missed by {goal.missed_by:.6f}: {goal}", file=sys.stderr)
    return 1 if missed else 0


def table(result: dict[str, Any]) -> str:
    """A results file as lines of Markdown."""
    figures = result["figures"]
    int8, right = figures["int8"], figures["accuracy"]
    each = int8["spearman_per_question"]
    return markdown(
        [
            ("int8 against fp32", ""),
            ("correlation of all scores", f"{int8['correlation_of_all']:.4f}"),
            ("rank correlation (Spearman) of all scores", f"{int8['spearman_of_all']:.4f}"),
            ("rank correlation within a question", f"{each['mean']:.4f} mean, {each['least']:.4f} min"),
            ("questions with the same paragraph first", f"{int8['same_first']:.1f} %"),
            (
                "right paragraph first",
                f"{right['fp32']:.1f} % fp32, {right['int8']:.1f} % int8, {right['embedder']:.1f} % the embedder alone",
            ),
        ]
    )


def first_half(data: datasets.Retrieval) -> datasets.Retrieval:
    """The first half of the documents, and the queries that all answers of are in it."""
    return _part(data, range(len(data.documents) // 2))


def second_half(data: datasets.Retrieval) -> datasets.Retrieval:
    """The other half."""
    return _part(data, range(len(data.documents) // 2, len(data.documents)))


def find_candidates(data: datasets.Retrieval) -> metrics.Indices:
    """The documents nearest to each query by all-MiniLM-L6-v2, the best first. Shape: ``(queries, 20)``."""
    with tempfile.TemporaryDirectory() as place:
        bundle = export(minilm(), Path(place, "bundle"), precision=["fp32"]).path
        with Embedder.load(bundle) as model, warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # long ones are truncated
            return metrics.nearest(model.embed(data.documents), model.embed(data.queries), CANDIDATES)


def score(bundle: Path, variant: str, data: datasets.Retrieval, candidates: metrics.Indices) -> metrics.FloatArray:
    """The reranker's score of each candidate. Shape: ``(queries, candidates)``."""
    pairs = [
        (query, data.documents[document])
        for query, found in zip(data.queries, candidates.tolist(), strict=True)
        for document in found
    ]
    with Reranker.load(bundle, variant=variant) as model, warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # long ones are truncated
        return model.scores(pairs).reshape(candidates.shape)


def compare(
    data: datasets.Retrieval, candidates: metrics.Indices, fp32: metrics.FloatArray, int8: metrics.FloatArray
) -> Figures:
    """What the candidates' order is worth, and how near int8 comes to fp32. Shapes: ``(queries, candidates)``."""
    ranked = {
        "embedder": candidates,
        "fp32": np.take_along_axis(candidates, np.argsort(-fp32, axis=1, kind="stable"), axis=1),
        "int8": np.take_along_axis(candidates, np.argsort(-int8, axis=1, kind="stable"), axis=1),
    }
    each = np.array([metrics.rank_correlation(a, b) for a, b in zip(int8, fp32, strict=True)])
    return {
        "accuracy": {name: _percent(_first_is_right(order, data.gains)) for name, order in ranked.items()},
        "ndcg_at_10": {
            name: round(float(metrics.retrieval_scores(order, data.gains).mean()), 4) for name, order in ranked.items()
        },
        "int8": {
            "spearman_per_question": metrics.summary(each),
            "spearman_of_all": round(metrics.rank_correlation(int8.ravel(), fp32.ravel()), 6),
            "correlation_of_all": round(float(np.corrcoef(int8.ravel(), fp32.ravel())[0, 1]), 6),
            "same_first": _percent(ranked["int8"][:, 0] == ranked["fp32"][:, 0]),
        },
    }


def goals(figures: Figures) -> list[Goal]:
    """Both."""
    int8 = figures["int8"]
    return [
        Goal("int8: mean rank correlation with fp32 per question", int8["spearman_per_question"]["mean"], ">=", 0.999),
        Goal("int8: per cent of questions with fp32's best paragraph", int8["same_first"], ">=", 99.0),
    ]


def _part(data: datasets.Retrieval, kept: range) -> datasets.Retrieval:
    asked = [number for number, gains in enumerate(data.gains) if all(document in kept for document in gains)]
    return datasets.Retrieval(
        [data.documents[document] for document in kept],
        [data.queries[number] for number in asked],
        [{document - kept.start: gain for document, gain in data.gains[number].items()} for number in asked],
    )


def _first_is_right(ranked: metrics.Indices, gains: Sequence[dict[int, int]]) -> list[bool]:
    return [best in relevant for best, relevant in zip(ranked[:, 0].tolist(), gains, strict=True)]


def _percent(right: Iterable[bool]) -> float:
    return round(100 * float(np.mean(list(right))), 4)


if __name__ == "__main__":
    raise SystemExit(main())
