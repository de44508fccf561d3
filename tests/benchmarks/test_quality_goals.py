"""`make quality`: its measures, worked out by hand, its goals, and the figures that it wrote."""

import json
import math
import re
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from benchmarks import datasets, metrics, quality
from benchmarks.quality import Goal, goals
from embedge import Bundle
from embedge_export.measure import cosines
from tests.cases import ROOT

RESULTS = json.loads(quality.RESULTS.read_text(encoding="utf-8"))


# Measures


@pytest.mark.parametrize(
    ("ranking", "gains", "expected"),
    [
        ([7, 1, 2], {7: 1}, 1.0),
        ([1, 7, 2], {7: 1}, 1 / math.log2(3)),
        ([1, 2, 3], {7: 1}, 0.0),
        ([7, 1, 8], {7: 2, 8: 1}, (2 + 1 / 2) / (2 + 1 / math.log2(3))),
        ([*range(10), 99], {99: 1}, 0.0),
        ([*range(10)], dict.fromkeys(range(20), 1), 1.0),
    ],
    ids=["first", "second", "not found", "two relevant", "eleventh", "more than ten"],
)
def test_ndcg_is_what_it_is_by_hand(ranking: list[int], gains: dict[int, int], expected: float) -> None:
    assert metrics.ndcg_at_10(ranking, gains) == pytest.approx(expected)


def test_the_retrieval_score_ranks_by_cosine_and_takes_the_mean() -> None:
    documents = np.eye(3)
    queries = np.array([[0.9, 0.3, 0.1], [0.1, 0.9, 0.3]])
    score = metrics.retrieval_score(documents, queries, [{0: 1}, {2: 1}])
    assert score == pytest.approx(100 * (1 + 1 / math.log2(3)) / 2)


def test_nearest_centroids_are_the_means_of_their_labels() -> None:
    train = np.array([[1.0, 0], [0.8, 0.6], [0, 1]])
    test = np.array([[0.96, 0.28], [0, 1], [0, 1]])
    assert metrics.centroid_accuracy(train, ["a", "a", "b"], test, ["a", "b", "a"]) == pytest.approx(200 / 3)


def test_cosines_do_not_depend_on_lengths() -> None:
    found = cosines(np.array([[3.0, 4], [1, 0]]), np.array([[6.0, 8], [0, 2]]))
    assert found == pytest.approx([1, 0])
    assert metrics.summary(found) == {
        "mean": 0.5,
        "least": 0.0,
        "percentile_1": 0.01,
        "percentile_5": 0.05,
        "percentile_50": 0.5,
    }


# Goals


def test_a_goal_is_missed_by_the_distance_to_its_limit() -> None:
    assert Goal("", 0.9995, ">=", 0.9995).missed_by == 0
    assert Goal("", 0.9994, ">=", 0.9995).missed_by == pytest.approx(0.0001)
    assert Goal("", 0.25, "<=", 0.2).missed_by == pytest.approx(0.05)
    assert Goal("", math.nan, ">=", 0.9995).missed_by == math.inf


@pytest.mark.parametrize(
    ("variant", "figure", "change"),
    [
        ("fp32", "scifact_ndcg_at_10", -0.06),
        ("int8", "mean", -0.0002),
        ("int8", "least", -0.002),
        ("int8", "scifact_ndcg_at_10", 0.4),
        ("int8", "xquad_en_ndcg_at_10", -0.4),
        ("int8", "banking77_accuracy", -0.5),
        ("int8-reduced", "mean", -0.0005),
    ],
)
def test_each_figure_has_a_goal(variant: str, figure: str, change: float) -> None:
    variants = json.loads(json.dumps(RESULTS["variants"]))
    place = variants[variant]["cosine"]["all"] if figure in ("mean", "least") else variants[variant]
    place[figure] += change
    missed = [goal.name for goal in goals(variants) if goal.missed_by]
    assert [name for name in missed if name.startswith(f"{variant}:")]
    assert not any(goal.missed_by for goal in goals(RESULTS["variants"]))


# The command


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Data sets of a few texts."""
    for name in ("scifact", "xquad-en"):
        (tmp_path / "data" / name).mkdir(parents=True)
        texts = [
            "Bees dance to tell where food is.",
            "Dough rises, since yeast makes gas.",
            "Ferries cross the harbour.",
        ]
        documents = [{"_id": f"d{number}", "title": "", "text": text} for number, text in enumerate(texts)]
        queries = [{"_id": "q1", "text": "why does bread rise?"}, {"_id": "q2", "text": "never judged"}]
        for file, rows in (("corpus", documents), ("queries", queries)):
            (tmp_path / "data" / name / f"{file}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        (tmp_path / "data" / name / "qrels.tsv").write_text("query-id\tcorpus-id\tscore\nq1\td1\t1\nq1\td0\t0\n")
    (tmp_path / "data" / "banking77").mkdir()
    for file in ("train", "test"):
        rows = 'text,category\n"My card, it is lost.",card\nI want to change my PIN.,pin\n'
        (tmp_path / "data" / "banking77" / f"{file}.csv").write_text(rows)
    return tmp_path / "data"


@pytest.fixture
def exported(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The bundle that the tests have anyway, in place of another export."""

    def copy(source: Path, out: Path, **options: Any) -> SimpleNamespace:
        shutil.copytree(bundle, out)
        return SimpleNamespace(manifest=Bundle.open(out).manifest)

    monkeypatch.setattr(quality, "export", copy)


def test_data_is_read_as_its_authors_wrote_it(data: Path) -> None:
    found = datasets.load(data)
    assert (found.scifact.queries, found.scifact.gains) == (["why does bread rise?"], [{1: 1}])
    assert (found.banking.train[0], found.banking.train_labels) == ("My card, it is lost.", ["card", "pin"])
    assert len(datasets.all_texts(found)) == 6


@pytest.mark.usefixtures("exported")
def test_a_missed_goal_is_named_and_ends_with_1(data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """On three documents the nDCG is 100, far from the published one."""
    assert quality.main(["--data", str(data), "--out", str(tmp_path / "quality.json")]) == 1
    out, err = capsys.readouterr()
    assert err.startswith("quality: missed by 35.44")
    assert "published 64.51" in err
    assert re.search(r"^int8-reduced +0\.99\d+ ", out, re.MULTILINE)
    result = json.loads((tmp_path / "quality.json").read_text())
    assert list(result) == list(RESULTS)
    assert [goal["met"] for goal in result["goals"] if goal["name"].startswith("fp32")] == [False]
    assert result["variants"]["fp32"]["cosine"]["all"]["mean"] == 1
    assert result["variants"]["int8"]["banking77_accuracy"] == 100


def test_missing_data_is_named_and_nothing_written(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (data / "banking77" / "test.csv").unlink()
    assert quality.main(["--data", str(data), "--out", str(tmp_path / "quality.json")]) == 0
    assert str(data / "banking77" / "test.csv") in capsys.readouterr().out
    assert not (tmp_path / "quality.json").exists()


# The figures


def test_the_results_meet_the_goals_and_are_over_the_passages_told() -> None:
    assert all(goal["met"] for goal in RESULTS["goals"])
    assert sum(RESULTS["conditions"]["cosine"]["passages"].values()) == 1219


@pytest.mark.parametrize("file", ["README.md", "docs/quantization.md"])
@pytest.mark.parametrize("variant", ["int8", "int8-reduced"])
def test_the_texts_tell_the_cosines_that_were_measured(file: str, variant: str) -> None:
    cosine = RESULTS["variants"][variant]["cosine"]["all"]
    told = " ".join((ROOT / file).read_text(encoding="utf-8").split())
    mean, least = f"{cosine['mean']:.5f}", f"{cosine['least']:.4f}"
    assert re.search(rf"{re.escape(mean)}\W.{{0,40}}\b{re.escape(least)}\b", told)
    assert "1,219" in told


@pytest.mark.parametrize("variant", quality.VARIANTS)
def test_the_texts_tell_the_scores_that_were_measured(variant: str) -> None:
    found = RESULTS["variants"][variant]
    scores = [found[name] for name in ("scifact_ndcg_at_10", "xquad_en_ndcg_at_10", "banking77_accuracy")]
    row = " | ".join([variant, *(f"{score:.2f}" for score in scores)])
    assert f"| {row} |" in (ROOT / "docs" / "quantization.md").read_text(encoding="utf-8")
