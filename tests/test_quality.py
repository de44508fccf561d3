"""Retrieval quality on public data, where a directory with it lies beside the checkout (`make quality`)."""

import json
import math
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import ROOT

from embedge import Embedder
from embedge_export import export

pytestmark = pytest.mark.quality

DATA = ROOT.parent / "shared" / "data"


def test_scifact_ndcg_of_minilm_fp32_is_the_published_one(fp32: Embedder) -> None:
    """MTEB gives 64.51 for all-MiniLM-L6-v2; a document is its title, a space and its text."""
    assert abs(100 * ndcg_at_10(fp32, "scifact") - 64.51) <= 0.05


def test_minilm_int8_is_near_fp32_over_300_real_paragraphs(bundle: Path, fp32: Embedder) -> None:
    for name in ("xquad-en", "scifact"):
        if not (DATA / name).is_dir():
            pytest.skip(f"there is no {name} data beside the checkout")
    texts = [
        line["text"]
        for name, count in (("xquad-en", 240), ("scifact", 60))
        for line in [*lines(name, "corpus")][:count]
    ]
    assert len(texts) == 300
    with Embedder.load(bundle, variant="int8") as int8, pytest.warns(UserWarning, match="truncated"):
        cosines = (int8.embed(texts) * fp32.embed(texts)).sum(axis=1, dtype=np.float64)
    assert cosines.mean() >= 0.9975


@pytest.mark.parametrize(
    ("variable", "file"),
    [
        ("EMBEDGE_BGE_SMALL_EN", "bge_small_en_partial.json"),
        ("EMBEDGE_BGE_SMALL_EN_V15", "bge_small_en_v15_full384.json"),
    ],
)
def test_bge_small_gives_its_published_vectors(variable: str, file: str, tmp_path: Path) -> None:
    if variable not in os.environ:
        pytest.skip(f"{variable} does not name a checkpoint directory")
    if not (DATA / "refvectors" / file).is_file():
        pytest.skip(f"there is no {file} beside the checkout")
    published = json.loads((DATA / "refvectors" / file).read_text())
    export(os.environ[variable], tmp_path / "out", precision=["fp32"])
    with Embedder.load(tmp_path / "out") as model:
        for item in published.get("items", []):
            assert model.embed([item["text"]], prompt="")[0] @ np.array(item["embedding"]) >= 0.9999, item["text"]
        for item in published.get("partial", []):
            vector = model.embed([item["text"]], prompt="")[0]
            for index, expected in item["at"].items():
                assert vector[int(index)] == pytest.approx(expected, rel=0.01, abs=1e-3), item["text"]


def ndcg_at_10(model: Embedder, name: str) -> float:
    """The mean over the data set's judged queries (Järvelin and Kekäläinen 2002, gains as in trec_eval)."""
    if not (DATA / name).is_dir():
        pytest.skip(f"there is no {name} data beside the checkout")
    corpus = {line["_id"]: f"{line.get('title', '')} {line['text']}".strip() for line in lines(name, "corpus")}
    queries = {line["_id"]: line["text"] for line in lines(name, "queries")}
    judged: dict[str, dict[str, int]] = {}
    for row in (DATA / name / "qrels.tsv").read_text().splitlines()[1:]:
        query, document, gain = row.split("\t")
        judged.setdefault(query, {})[document] = int(gain)
    names = list(corpus)
    with pytest.warns(UserWarning, match="truncated"):
        documents = model.embed([corpus[name] for name in names])
    scores = []
    for query, gains in judged.items():
        ranking = np.argsort(-(documents @ model.embed_query(queries[query])), kind="stable")[:10]
        gained = sum(gains.get(names[document], 0) / math.log2(rank + 2) for rank, document in enumerate(ranking))
        best = sum(gain / math.log2(rank + 2) for rank, gain in enumerate(sorted(gains.values(), reverse=True)[:10]))
        scores.append(gained / best)
    return sum(scores) / len(scores)


def lines(name: str, file: str) -> Iterator[dict[str, Any]]:
    for line in (DATA / name / f"{file}.jsonl").read_text().splitlines():
        yield json.loads(line)
