"""Reranking by Cohere's and Jina's routes, by plain requests."""

from typing import Any

import httpx
import numpy as np
import pytest

from embedge import Reranker

QUERY = "what makes bread rise?"
DOCUMENTS = ["ONNX Runtime runs on edge boxes.", "Bread rises by yeast.", "", "the sea " * 600]
BODY: dict[str, Any] = {"model": "trained", "query": QUERY, "documents": DOCUMENTS}


@pytest.mark.parametrize("route", ["/v1/rerank", "/v2/rerank"])
def test_documents_come_by_the_librarys_scores_between_0_and_1(
    several: httpx.Client, reranker: Reranker, route: str
) -> None:
    answer = several.post(route, json=BODY)
    with pytest.warns(UserWarning, match="truncated"):
        ranked = reranker.rank(QUERY, DOCUMENTS)
    assert [one["index"] for one in answer.json()["results"]] == [one.index for one in ranked]
    scores = np.array([one["relevance_score"] for one in answer.json()["results"]])
    np.testing.assert_allclose(scores, 1 / (1 + np.exp([-one.score for one in ranked])), rtol=1e-6)
    assert "document" not in answer.json()["results"][0]
    assert answer.json()["meta"]["api_version"]["version"] == route[2]
    tokens = sum(map(len, reranker.tokenizer.encode_pairs([(QUERY, text) for text in DOCUMENTS]).ids))
    assert answer.json()["usage"]["total_tokens"] == tokens
    assert answer.headers["x-embedge-truncated"] == "1"


def test_documents_may_be_objects_and_are_returned_on_request(several: httpx.Client) -> None:
    objects = [DOCUMENTS[0], *({"text": text, "title": "ignored"} for text in DOCUMENTS[1:])]
    answer = several.post("/v1/rerank", json={**BODY, "documents": objects, "return_documents": True, "top_n": 2})
    plain = several.post("/v1/rerank", json=BODY).json()["results"][:2]
    assert answer.json()["results"] == [{**one, "document": {"text": DOCUMENTS[one["index"]]}} for one in plain]


def test_a_document_is_cut_to_the_tokens_asked_for(several: httpx.Client) -> None:
    def scores(**more: Any) -> list[float]:
        return [one["relevance_score"] for one in several.post("/v2/rerank", json={**BODY, **more}).json()["results"]]

    cut = scores(documents=["Bread rises by yeast."], max_tokens_per_doc=2)
    assert cut == scores(documents=["Bread rises"]) != scores(documents=["Bread rises by yeast."])


@pytest.mark.parametrize(
    ("change", "status", "said"),
    [
        ({"documents": []}, 400, "documents is empty"),
        ({"top_n": 0}, 400, "top_n is 0"),
        ({"max_tokens_per_doc": -1}, 400, "max_tokens_per_doc is -1"),
        ({"truncation": False}, 400, "documents[3] has more than the model's 512 tokens, with the query"),
        ({"truncation": False, "max_tokens_per_doc": 9}, 400, "leave one of them out"),
        ({"documents": [{"title": "a"}]}, 400, "documents[0]: Object missing required field `text`"),
        ({"model": "other"}, 404, "there is no model 'other'"),
        ({"model": "prompted"}, 404, "'prompted' is not for reranking"),
        ({"model": None}, 404, "the request names no model"),
        ({"documents": ["a"] * 2049}, 413, "documents has 2049 texts"),
    ],
)
def test_what_can_not_be_done_is_refused_in_coheres_words(
    several: httpx.Client, change: dict[str, Any], status: int, said: str
) -> None:
    answer = several.post("/v2/rerank", json={**BODY, **change})
    assert (answer.status_code, set(answer.json())) == (status, {"message"})
    assert said in answer.json()["message"]
