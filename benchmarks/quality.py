"""``python -m benchmarks.quality``: how near int8 comes to fp32 on public data, with the trained all-MiniLM-L6-v2.

Exports the checkpoint, embeds every text of :mod:`benchmarks.datasets` once with each variant, prints what was
measured and writes it to ``results/quality.json``. Exit codes: 0 all goals are met, or the data is not there; 1 one is
missed. Nothing that changes from run to run, such as a time, is written, so that one machine writes one file.
"""

import argparse
import importlib.metadata
import json
import platform
import sys
import tempfile
import time
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import datasets, metrics
from benchmarks.checkpoints import minilm
from benchmarks.quality_goals import Figures, Goal, goals
from embedge import Embedder
from embedge.bundle import hash_file
from embedge.engine.cpus import cpu_name
from embedge.engine.native import kernels
from embedge.manifest import Source
from embedge_export import export
from embedge_export.measure import cosines

VARIANTS = ("fp32", "int8")
"""The second is compared with the first."""
SCORES = {
    "scifact_ndcg_at_10": "SciFact",
    "xquad_en_ndcg_at_10": "XQuAD-en",
    "banking77_accuracy": "Banking77",
}
RESULTS = Path(__file__).parent / "results" / "quality.json"
_DATA = Path(__file__).parents[2] / "shared" / "data"


@dataclass(frozen=True)
class _Scored:
    """What one variant's vectors give, item by item: points of 100, and the documents found for each query."""

    scores: dict[str, metrics.Array]
    ten_best: dict[str, metrics.Indices]


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print and write; returns the exit code."""
    parser = argparse.ArgumentParser(prog="benchmarks.quality", description="How near int8 comes to fp32.")
    parser.add_argument("--data", type=Path, default=_DATA, metavar="DIRECTORY", help="default: %(default)s")
    parser.add_argument("--out", type=Path, default=RESULTS, metavar="JSON", help="default: %(default)s")
    options = parser.parse_args(arguments)
    missing = datasets.missing_files(options.data)
    if missing:
        print(f"quality: skipped, since these are not there: {', '.join(map(str, missing))}")
        return 0
    data = datasets.load(options.data)
    with tempfile.TemporaryDirectory() as place:
        manifest = export(minilm(), Path(place, "bundle"), precision=VARIANTS, on_step=print).manifest
        variants = measure(Path(place, "bundle"), data)
    reached = goals(variants)
    print_figures(variants)
    print_goals(reached)
    result = {
        "conditions": conditions(manifest.source, options.data, data),
        "variants": variants,
        "goals": [{**vars(goal), "met": goal.missed_by == 0} for goal in reached],
    }
    options.out.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    print(f"wrote {options.out}")
    missed = [goal for goal in reached if goal.missed_by]
    for goal in missed:
        print(f"quality: missed by {goal.missed_by:.6f}: {goal}", file=sys.stderr)
    return 1 if missed else 0


def measure(bundle: Path, data: datasets.Data) -> dict[str, Figures]:
    """Figures of fp32, and of int8 beside it."""
    texts = list(dict.fromkeys([*datasets.all_texts(data), *datasets.openings(data)]))
    rows = {text: row for row, text in enumerate(texts)}
    vectors = []
    for variant in VARIANTS:
        start = time.monotonic()
        with Embedder.load(bundle, variant=variant) as model, warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # long ones are truncated, as in the published figures
            vectors.append(model.embed(texts))
            tokens = np.array(model.count_tokens(texts))
        print(f"{variant}: {len(texts)} texts in {time.monotonic() - start:.0f} s", flush=True)
    near = cosines(vectors[1], vectors[0])
    kinds = {kind: near[[rows[text] for text in some]] for kind, some in datasets.passages(data).items()}
    short = near[(tokens >= datasets.SHORT[0]) & (tokens <= datasets.SHORT[1])]
    fp32, int8 = (_score(found, rows, data) for found in vectors)
    differences = {name: int8.scores[name] - fp32.scores[name] for name in SCORES}
    same = {name: metrics.same_share(best, fp32.ten_best[name]) for name, best in int8.ten_best.items()}
    return {
        "fp32": _means(fp32),
        "int8": {
            **_means(int8),
            "minus_fp32": {
                "mean": _interval(list(differences.values())),
                **{name: _interval([items]) for name, items in differences.items()},
            },
            "same_ten_best": {
                "mean": _mean(np.concatenate(list(same.values()))),
                **{name: _mean(shares) for name, shares in same.items()},
            },
            "cosine": {
                kind: {"texts": len(found), **metrics.summary(found)}
                for kind, found in {
                    "passages": np.concatenate(list(kinds.values())),
                    **kinds,
                    "short_texts": short,
                }.items()
            },
        },
    }


def print_figures(variants: dict[str, Figures]) -> None:
    """A table of the scores, and one of the cosines."""
    int8 = variants["int8"]
    print("\nscore          fp32      int8   int8 - fp32, 95 % interval       same ten best")
    for name in (*SCORES, "mean"):
        difference, same = int8["minus_fp32"][name], int8["same_ten_best"].get(name)
        scores = "".join(f"{variants[variant][name]:<10.3f}" for variant in VARIANTS)
        interval = f"{difference['mean']:+.3f}, {difference['lower']:+.3f} to {difference['upper']:+.3f}"
        print(f"{SCORES.get(name, name):<12}{scores}{interval:<34}{'' if same is None else f'{same:.4f}'}")
    print("\ncosine of int8 to fp32               texts  mean      least     1 %       median")
    for kind, cosine in int8["cosine"].items():
        numbers = (cosine[name] for name in ("mean", "least", "percentile_1", "percentile_50"))
        print(f"{kind:<37}{cosine['texts']:<7}" + "".join(f"{number:<10.6f}" for number in numbers))


def print_goals(reached: Sequence[Goal]) -> None:
    """One line for each goal."""
    print()
    for goal in reached:
        print(f"{'MISSED' if goal.missed_by else 'met':<8}{goal}")


def conditions(source: Source, directory: Path, data: datasets.Data) -> dict[str, Any]:
    """On what, with what and where the figures were measured."""
    packages = ("embedge", "numpy", "onnxruntime", "tokenizers")
    return {
        "model": source._asdict(),
        "cpu": cpu_name(),
        "kernels": kernels().description,
        "versions": {
            "python": platform.python_version(),
            **{package: importlib.metadata.version(package) for package in packages},
        },
        "scifact_ndcg_at_10": _describe(data.scifact),
        "xquad_en_ndcg_at_10": _describe(data.xquad),
        "banking77_accuracy": {
            "method": "nearest centroid by cosine, per cent",
            "train": len(data.banking.train),
            "test": len(data.banking.test),
        },
        "minus_fp32": {
            "method": "paired percentile bootstrap, items resampled within each set; mean: of the sets",
            "confidence": metrics.CONFIDENCE,
            "resamples": metrics.RESAMPLES,
        },
        "short_texts_tokens": datasets.SHORT,
        "data_sha256": {
            f"{name}/{file}": hash_file(directory / name / file)
            for name, files in datasets.FILES.items()
            for file in files
        },
    }


def _score(vectors: metrics.FloatArray, rows: dict[str, int], data: datasets.Data) -> _Scored:
    def pick(texts: Sequence[str]) -> metrics.FloatArray:
        return vectors[[rows[text] for text in texts]]

    sets = {"scifact_ndcg_at_10": data.scifact, "xquad_en_ndcg_at_10": data.xquad}
    ten_best = {name: metrics.nearest(pick(found.documents), pick(found.queries), 10) for name, found in sets.items()}
    scores = {name: metrics.retrieval_scores(best, sets[name].gains) for name, best in ten_best.items()}
    banking = data.banking
    scores["banking77_accuracy"] = metrics.centroid_scores(
        pick(banking.train), banking.train_labels, pick(banking.test), banking.test_labels
    )
    return _Scored(scores, ten_best)


def _means(scored: _Scored) -> dict[str, float]:
    means = {name: float(scores.mean()) for name, scores in scored.scores.items()}
    return {name: round(mean, 4) for name, mean in (means | {"mean": float(np.mean(list(means.values())))}).items()}


def _mean(items: metrics.Array) -> float:
    return round(float(items.mean()), 4)


def _interval(differences: Sequence[metrics.Array]) -> dict[str, float]:
    return {name: round(end, 4) for name, end in metrics.paired_interval(differences)._asdict().items()}


def _describe(data: datasets.Retrieval) -> dict[str, Any]:
    return {
        "method": "ranking by cosine, points of 100",
        "documents": len(data.documents),
        "queries": len(data.queries),
    }


if __name__ == "__main__":
    raise SystemExit(main())
