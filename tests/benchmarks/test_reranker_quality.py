"""`python -m benchmarks.rerankers`: its measures, worked out by hand."""

import json
from pathlib import Path

import numpy as np
import pytest

from benchmarks import metrics, rerankers
from benchmarks.datasets import Retrieval
from tests.cases import MakeCheckpoint
from tests.layouts import write_reranker

DATA = Retrieval(["a", "b", "c", "d"], ["p", "q", "r"], [{0: 1}, {3: 1}, {1: 1, 2: 1}])


@pytest.mark.parametrize(
    ("a", "b", "expected"),
    [
        ([1, 2, 3], [10, 20, 90], 1),
        ([1, 2, 3], [3, 2, 1], -1),
        ([1, 2, 3, 4], [1, 3, 2, 4], 0.8),
        ([1, 1, 2], [1, 2, 3], 3**0.5 / 2),
    ],
)
def test_the_rank_correlation_is_what_it_is_by_hand(a: list[int], b: list[int], expected: float) -> None:
    assert metrics.rank_correlation(np.array(a, float), np.array(b, float)) == pytest.approx(expected)


def test_no_question_is_trained_on_and_measured() -> None:
    first, second = rerankers.first_half(DATA), rerankers.second_half(DATA)
    assert (first.documents, first.queries, first.gains) == (["a", "b"], ["p"], [{0: 1}])
    assert (second.documents, second.queries, second.gains) == (["c", "d"], ["q"], [{1: 1}])


def test_what_int8_changes_is_counted_question_by_question() -> None:
    """It swaps the best two of one of two questions, and nothing of the other."""
    data = Retrieval(["a", "b", "c"], ["p", "q"], [{1: 1}, {2: 1}])
    candidates = np.array([[0, 1, 2], [1, 2, 0]])
    fp32 = np.array([[0.1, 0.9, 0.0], [0.3, 0.8, 0.1]])
    int8 = np.array([[0.9, 0.8, 0.0], [0.3, 0.8, 0.1]])
    found = rerankers.compare(data, candidates, fp32, int8)
    assert found["accuracy"] == {"embedder": 0, "fp32": 100, "int8": 50}
    assert found["int8"]["same_first"] == 50
    assert found["int8"]["spearman_per_question"]["mean"] == 0.75
    assert [goal.missed_by > 0 for goal in rerankers.goals(found)] == [True, True]
    assert not any(goal.missed_by for goal in rerankers.goals(rerankers.compare(data, candidates, fp32, fp32)))


def test_a_reranker_is_measured_from_its_checkpoint(
    make_checkpoint: MakeCheckpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    tiny, source = make_checkpoint("embedder", pooling="mean"), write_reranker(make_checkpoint())
    monkeypatch.setattr(rerankers, "minilm", lambda: tiny)
    for name in ("scifact", "xquad-en", "banking77"):
        (tmp_path / "data" / name).mkdir(parents=True)
    texts = ["Bees dance.", "Dough rises.", "Ferries cross.", "Yeast makes gas.", "Boats sink.", "Bread is baked."]
    rows = [json.dumps({"_id": str(number), "text": text}) + "\n" for number, text in enumerate(texts)]
    for name in ("scifact", "xquad-en"):
        for file in ("corpus", "queries"):
            (tmp_path / "data" / name / f"{file}.jsonl").write_text("".join(rows))
        judged = "".join(f"{number}\t{number}\t1\n" for number in range(len(texts)))
        (tmp_path / "data" / name / "qrels.tsv").write_text("query-id\tcorpus-id\tscore\n" + judged)
    for file in ("train", "test"):
        (tmp_path / "data" / "banking77" / f"{file}.csv").write_text("text,category\nMy card,card\n")
    arguments = ["--checkpoint", str(source), "--data", str(tmp_path / "data"), "--out", str(tmp_path / "out.json")]
    code = rerankers.main(arguments)
    result = json.loads((tmp_path / "out.json").read_text())
    assert code == (not all(goal["met"] for goal in result["goals"]))
    assert (result["conditions"]["questions"], result["conditions"]["candidates"]) == (3, 3)
    assert result["figures"]["int8"]["correlation_of_all"] > 0.99
    assert "mean rank correlation" in capsys.readouterr().out
    (tmp_path / "data" / "xquad-en" / "qrels.tsv").unlink()
    assert rerankers.main(arguments) == 0
    assert "skipped" in capsys.readouterr().out
