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
from typing import Any, Literal

import numpy as np

from benchmarks import datasets, metrics
from benchmarks.checkpoints import minilm
from embedge import Embedder
from embedge.bundle import hash_file
from embedge.engine.cpus import cpu_name
from embedge.manifest import Source
from embedge_export import export
from embedge_export.measure import cosines

VARIANTS = ("fp32", "int8", "int8-reduced")
RESULTS = Path(__file__).parent / "results" / "quality.json"
_DATA = Path(__file__).parents[2] / "shared" / "data"
_PUBLISHED_SCIFACT = 64.51  # MTEB's nDCG@10 of all-MiniLM-L6-v2

Figures = dict[str, Any]


@dataclass(frozen=True)
class Goal:
    """A measured ``value`` that is to be at least, or at most, ``limit``."""

    name: str
    value: float
    relation: Literal[">=", "<="]
    limit: float

    @property
    def missed_by(self) -> float:
        """How far the value is on the wrong side, 0 where it is not; NaN is infinitely far."""
        if np.isnan(self.value):
            return float("inf")
        gap = self.limit - self.value if self.relation == ">=" else self.value - self.limit
        return max(0.0, gap)


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
        manifest = export(minilm(), Path(place, "bundle"), precision=["int8", "fp32"], on_step=print).manifest
        variants = measure(Path(place, "bundle"), [name for name in VARIANTS if name in manifest.variants], data)
    reached = goals(variants)
    print_goals(reached)
    if len(variants) < len(VARIANTS):
        print(f"{options.out} stays as it was: this CPU can't run {', '.join(set(VARIANTS) - set(variants))}")
    else:
        result = {
            "conditions": conditions(manifest.source, options.data, data),
            "variants": variants,
            "goals": [{**vars(goal), "met": goal.missed_by == 0} for goal in reached],
        }
        options.out.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
        print(f"wrote {options.out}")
    missed = [goal for goal in reached if goal.missed_by]
    for goal in missed:
        print(f"quality: missed by {goal.missed_by:.6f}: {_line(goal)}", file=sys.stderr)
    return 1 if missed else 0


def measure(bundle: Path, variants: Sequence[str], data: datasets.Data) -> dict[str, Figures]:
    """Figures of each of ``variants``, the first of which is the reference; prints a line for each as it comes."""
    texts = datasets.all_texts(data)
    rows = {text: row for row, text in enumerate(texts)}
    print(
        f"\n{len(texts)} texts; cosines to {variants[0]} over {sum(map(len, datasets.passages(data).values()))} of them"
    )
    print("              mean cosine   least   1 %     median   SciFact  XQuAD-en  Banking77  seconds", flush=True)
    figures: dict[str, Figures] = {}
    reference = np.empty(0)
    for variant in variants:
        start = time.monotonic()
        with Embedder.load(bundle, variant=variant) as model, warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # long ones are truncated, as in the published figures
            vectors = model.embed(texts)
        seconds = time.monotonic() - start
        reference = reference if len(reference) else vectors
        found = figures[variant] = _figures(vectors, reference, rows, data)
        cosine = found["cosine"]["all"]
        print(
            f"{variant:<14}{cosine['mean']:<14.6f}{cosine['least']:<8.4f}{cosine['percentile_1']:<8.4f}"
            f"{cosine['percentile_50']:<9.5f}{found['scifact_ndcg_at_10']:<9.3f}{found['xquad_en_ndcg_at_10']:<10.3f}"
            f"{found['banking77_accuracy']:<11.3f}{seconds:.0f}",
            flush=True,
        )
    return figures


def goals(variants: dict[str, Figures]) -> list[Goal]:
    """What the figures of :func:`measure` are to reach; those of int8 only where it was measured."""
    fp32 = variants["fp32"]
    found = [
        _near(
            f"fp32: SciFact nDCG@10 to the published {_PUBLISHED_SCIFACT}",
            fp32["scifact_ndcg_at_10"],
            _PUBLISHED_SCIFACT,
            0.05,
        )
    ]
    if "int8" in variants:
        int8 = variants["int8"]
        found += [
            Goal("int8: mean cosine to fp32", int8["cosine"]["all"]["mean"], ">=", 0.9995),
            Goal("int8: least cosine to fp32", int8["cosine"]["all"]["least"], ">=", 0.998),
        ]
        for name, label, limit in (
            ("scifact_ndcg_at_10", "SciFact nDCG@10", 0.2),
            ("xquad_en_ndcg_at_10", "XQuAD-en nDCG@10", 0.2),
            ("banking77_accuracy", "Banking77 accuracy", 0.3),
        ):
            found.append(_near(f"int8: {label} to that of fp32", int8[name], fp32[name], limit))
    reduced = variants["int8-reduced"]["cosine"]["all"]["mean"]
    return [*found, Goal("int8-reduced: mean cosine to fp32", reduced, ">=", 0.9985)]


def _near(name: str, value: float, other: float, points: float) -> Goal:
    return Goal(f"{name}, points apart", round(abs(value - other), 6), "<=", points)


def print_goals(reached: Sequence[Goal]) -> None:
    """One line for each goal."""
    print()
    for goal in reached:
        print(f"{'MISSED' if goal.missed_by else 'met':<8}{_line(goal)}")


def conditions(source: Source, directory: Path, data: datasets.Data) -> dict[str, Any]:
    """On what, with what and where the figures were measured."""
    packages = ("embedge", "numpy", "onnxruntime", "tokenizers")
    return {
        "model": source._asdict(),
        "cpu": cpu_name(),
        "versions": {
            "python": platform.python_version(),
            **{package: importlib.metadata.version(package) for package in packages},
        },
        "cosine": {
            "reference": "fp32",
            "passages": {kind: len(texts) for kind, texts in datasets.passages(data).items()},
        },
        "scifact_ndcg_at_10": _describe(data.scifact),
        "xquad_en_ndcg_at_10": _describe(data.xquad),
        "banking77_accuracy": {
            "method": "nearest centroid by cosine, per cent",
            "train": len(data.banking.train),
            "test": len(data.banking.test),
        },
        "data_sha256": {
            f"{name}/{file}": hash_file(directory / name / file)
            for name, files in datasets.FILES.items()
            for file in files
        },
    }


def _figures(
    vectors: metrics.FloatArray, reference: metrics.FloatArray, rows: dict[str, int], data: datasets.Data
) -> Figures:
    def pick(texts: Sequence[str]) -> metrics.FloatArray:
        return vectors[[rows[text] for text in texts]]

    kinds = datasets.passages(data)
    near = {kind: cosines(pick(texts), reference[[rows[text] for text in texts]]) for kind, texts in kinds.items()}
    near = {"all": np.concatenate(list(near.values())), **near}
    banking, scifact, xquad = data.banking, data.scifact, data.xquad
    scores = {
        "scifact_ndcg_at_10": metrics.retrieval_score(pick(scifact.documents), pick(scifact.queries), scifact.gains),
        "xquad_en_ndcg_at_10": metrics.retrieval_score(pick(xquad.documents), pick(xquad.queries), xquad.gains),
        "banking77_accuracy": metrics.centroid_accuracy(
            pick(banking.train), banking.train_labels, pick(banking.test), banking.test_labels
        ),
    }
    return {
        "cosine": {kind: metrics.summary(values) for kind, values in near.items()},
        **{name: round(score, 4) for name, score in scores.items()},
    }


def _line(goal: Goal) -> str:
    return f"{goal.name}: {goal.value:.6f}, goal {goal.relation} {goal.limit}"


def _describe(data: datasets.Retrieval) -> dict[str, Any]:
    return {
        "method": "ranking by cosine, points of 100",
        "documents": len(data.documents),
        "queries": len(data.queries),
    }


if __name__ == "__main__":
    raise SystemExit(main())
