"""Text Embeddings Inference's routes, by plain requests."""

from typing import Any

import httpx
import numpy as np
import pytest
import tokenizers

from embedge import Embedder, Reranker
from embedge.server.models import Models
from embedge.server.scores import as_logits, as_relevance
from tests.server.conftest import serving

TEXTS = ["Bread rises by yeast.", "ONNX Runtime runs on edge boxes.", "", "東京の夜"]
LONG = "the harbour is closed in winter; " * 40


def vectors(answer: httpx.Response) -> np.ndarray[Any, Any]:
    assert answer.status_code == 200, answer.text
    return np.array(answer.json(), np.float32)


def unit(rows: np.ndarray[Any, Any]) -> Any:
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


@pytest.mark.parametrize("route", ["/embed", "/"])
def test_vectors_are_the_librarys_bits(client: httpx.Client, model: Embedder, route: str) -> None:
    assert np.array_equal(vectors(client.post(route, json={"inputs": TEXTS})), model.embed(TEXTS))
    assert np.array_equal(vectors(client.post(route, json={"inputs": TEXTS[0]})), model.embed(TEXTS[:1]))
    ids = model.tokenizer.encode(TEXTS).ids
    assert np.array_equal(vectors(client.post(route, json={"inputs": ids})), model.embed(TEXTS))
    assert np.array_equal(vectors(client.post(route, json={"inputs": ids[0]})), model.embed(TEXTS[:1]))
    fewer = client.post(route, json={"inputs": TEXTS, "dimensions": 64})
    assert np.array_equal(vectors(fewer), model.embed(TEXTS, dimensions=64))


def test_vectors_that_always_have_length_1_are_not_given_another(client: httpx.Client) -> None:
    answer = client.post("/embed", json={"inputs": "a", "normalize": False})
    assert (answer.status_code, answer.json()["error_type"]) == (422, "Validation")
    assert "always have length 1" in answer.json()["error"]


def test_vectors_of_their_own_length_get_length_1_unless_told_otherwise(
    several: httpx.Client, prompted: Embedder
) -> None:
    body = {"model": "prompted", "inputs": TEXTS, "prompt_name": "none"}
    own = prompted.embed(TEXTS, prompt="")
    assert np.array_equal(vectors(several.post("/embed", json={**body, "normalize": False})), own)
    np.testing.assert_allclose(vectors(several.post("/embed", json=body)), unit(own), rtol=1e-6)
    fewer = several.post("/embed", json={**body, "dimensions": 5})
    np.testing.assert_allclose(vectors(fewer), unit(own[:, :5]), rtol=1e-6)


@pytest.mark.parametrize(
    ("name", "prompt"), [(None, "a passage: "), ("query", "new: "), ("passage", "a passage: "), ("none", "")]
)
def test_a_prompt_is_chosen_by_its_name(
    several: httpx.Client, prompted: Embedder, name: str | None, prompt: str
) -> None:
    body = {"model": "prompted", "inputs": ["a text"], "normalize": False, "prompt_name": name}
    assert np.array_equal(vectors(several.post("/embed", json=body)), prompted.embed(["a text"], prompt=prompt))


def test_an_unknown_prompt_is_refused_with_those_there_are(several: httpx.Client) -> None:
    answer = several.post("/embed", json={"model": "prompted", "inputs": "a", "prompt_name": "title"})
    assert answer.status_code == 422
    assert answer.json()["error"] == "prompt_name 'title' is not one of document, none, passage, query"


@pytest.mark.parametrize("direction", ["left", "Left", "right", "Right", None])
def test_either_end_of_a_long_text_is_cut_off(several: httpx.Client, prompted: Embedder, direction: str | None) -> None:
    body = {"model": "prompted", "inputs": LONG, "normalize": False, "prompt_name": "query"}
    answer = several.post("/embed", json={**body, "truncation_direction": direction})
    whole = prompted.tokenizer.tokens("new: " + LONG, special=False)
    kept = whole[-30:] if direction in ("left", "Left") else whole[:30]
    expected = several.post("/embed", json={**body, "inputs": [token.id for token in kept]})
    assert answer.content == expected.content
    assert (answer.headers["x-embedge-truncated"], expected.headers["x-embedge-truncated"]) == ("1", "0")


def test_details_say_how_much_of_each_text_a_vector_reads(several: httpx.Client, prompted: Embedder) -> None:
    body = {"model": "prompted", "inputs": ["short", LONG], "normalize": False, "prompt_name": "none"}
    answer = several.post("/embed", json={**body, "details": True}).json()
    whole, part = answer["details"]
    assert whole == {"tokens": 3, "start": 0, "end": 5}
    assert part["tokens"] == prompted.count_tokens([LONG])[0]
    read = LONG[part["start"] : part["end"]]
    assert np.array_equal(np.array(answer["embeddings"], np.float32), prompted.embed(["short", read], prompt=""))


def test_every_answer_says_which_vectors_it_has(several: httpx.Client) -> None:
    models = {one["name"]: one["fingerprint"] for one in several.get("/info").json()["models"]}
    assert len(set(models.values())) == 4
    for route, body in (
        ("/embed", {"inputs": "a"}),
        ("/v1/embeddings", {"input": "a"}),
        ("/api/embed", {"input": "a"}),
    ):
        headers = several.post(route, json={**body, "model": "prompted"}).headers
        assert (headers["x-embedge-model"], headers["x-embedge-fingerprint"]) == ("prompted", models["prompted"])


@pytest.mark.parametrize(
    ("route", "body", "status", "kind", "said"),
    [
        ("/embed", {"inputs": ["a", LONG * 9], "truncate": False}, 413, "Validation", "inputs[1] has more than"),
        ("/embed", {"inputs": []}, 400, "Empty", "inputs is empty"),
        ("/embed", {"inputs": ["a", [1]]}, 422, "Validation", "inputs mixes"),
        ("/embed", {"inputs": [[1], [1, 999999]]}, 422, "Validation", "inputs[1] has a token id"),
        ("/embed", {"inputs": "a", "dimensions": 385}, 422, "Validation", "dimensions=385"),
        ("/embed", {"inputs": "a", "truncation_direction": "up"}, 422, "Validation", "truncation_direction"),
        ("/embed", {"inputs": "a", "model": "other"}, 424, "Backend", "no model 'other'"),
        ("/embed", {"inputs": ["a"] * 2049}, 413, "Validation", "inputs has 2049 texts"),
        ("/embed", {"inputs": [[1], [2]], "details": True}, 422, "Validation", "token ids have no details"),
        ("/tokenize", {"inputs": []}, 400, "Empty", "inputs is empty"),
        ("/tokenize", {"inputs": "x " * 300_000}, 413, "Validation", "the texts have 300002 tokens"),
        ("/rerank", {"query": "a", "texts": ["b"]}, 424, "Backend", "models for reranking here: none"),
    ],
)
def test_what_can_not_be_done_is_refused_in_teis_words(
    client: httpx.Client, route: str, body: dict[str, Any], status: int, kind: str, said: str
) -> None:
    answer = client.post(route, json=body)
    assert (answer.status_code, set(answer.json())) == (status, {"error", "error_type"})
    assert answer.json()["error_type"] == kind
    assert said in answer.json()["error"]


def test_tokens_are_those_of_the_tokenizers_library_with_offsets_in_bytes(
    client: httpx.Client, model: Embedder
) -> None:
    reference = tokenizers.Tokenizer.from_file(str(model.path / "tokenizer.json"))
    texts = ["Bread rises.", "naïve 東京 [SEP] 👩🏽‍🚀 x", ""]
    answer = client.post("/tokenize", json={"inputs": texts}).json()
    for text, tokens in zip(texts, answer, strict=True):
        encoding = reference.encode(text)
        assert [token["id"] for token in tokens] == encoding.ids
        assert [token["special"] for token in tokens] == [bool(one) for one in encoding.special_tokens_mask]
        assert (tokens[0]["text"], tokens[0]["start"], tokens[0]["stop"]) == ("[CLS]", None, None)
        for token in tokens[1:-1]:
            assert text.encode()[token["start"] : token["stop"]].decode() == token["text"]
    plain = client.post("/tokenize", json={"inputs": texts[1], "add_special_tokens": False}).json()
    assert plain == [answer[1][1:-1]]


def test_tokens_of_a_prompt_come_first(several: httpx.Client) -> None:
    body = {"model": "prompted", "inputs": "a text"}
    with_prompt = several.post("/tokenize", json={**body, "prompt_name": "query"}).json()
    plain = {"model": "prompted", "prompt_name": "none"}
    assert with_prompt == several.post("/tokenize", json={**plain, "inputs": "new: a text"}).json()
    default = several.post("/tokenize", json=body).json()
    assert default == several.post("/tokenize", json={**plain, "inputs": "a passage: a text"}).json()


def test_tokens_without_a_model_named_are_the_only_embedders(
    several: httpx.Client, model: Embedder, squashed: Reranker
) -> None:
    unnamed = several.post("/tokenize", json={"inputs": "a text"})
    assert (unnamed.status_code, unnamed.json()["error"][:28]) == (424, "the request names no model; ")
    for models, expected in (((squashed, model), model), ((squashed,), squashed)):
        with serving(*models) as url:
            answer = httpx.post(f"{url}/tokenize", json={"inputs": "a text"})
        assert answer.headers["x-embedge-model"] == Models([expected]).any(None).name


def test_info_is_what_teis_clients_read(client: httpx.Client, model: Embedder) -> None:
    info = client.get("/info").json()
    assert info["model_id"] == model.manifest.source.id
    assert (info["model_dtype"], info["model_type"]) == ("int8", {"embedding": {"pooling": "mean"}})
    assert (info["max_input_length"], info["max_client_batch_size"]) == (256, 2048)
    assert info["fingerprint"].startswith("int8-")


def test_info_and_metrics_say_which_kernels_run(client: httpx.Client, model: Embedder) -> None:
    assert client.get("/info").json()["models"][0]["kernels"] == model.kernels
    assert f'kernels="{model.kernels or ""}"' in client.get("/metrics").text


def test_health_is_an_empty_200(client: httpx.Client) -> None:
    assert (client.get("/health").status_code, client.get("/health").content) == (200, b"")


@pytest.mark.parametrize("name", ["trained", "squashed"])
def test_texts_are_ranked_by_the_librarys_scores(
    several: httpx.Client, reranker: Reranker, squashed: Reranker, name: str
) -> None:
    model = {"trained": reranker, "squashed": squashed}[name]
    query = "what makes bread rise?"
    ranked = model.rank(query, TEXTS)
    body = {"model": name, "query": query, "texts": TEXTS}
    answer = several.post("/rerank", json={**body, "return_text": True})
    assert [one["index"] for one in answer.json()] == [one.index for one in ranked]
    assert [one["text"] for one in answer.json()] == [TEXTS[one.index] for one in ranked]
    assert answer.headers["x-embedge-model"] == name
    scores = np.array([one.score for one in ranked])
    logits = np.log(scores / (1 - scores)) if model.squashed else scores
    inner = np.array([one["score"] for one in answer.json()])
    raw = several.post("/rerank", json={**body, "raw_scores": True}).json()
    np.testing.assert_allclose(inner, 1 / (1 + np.exp(-logits)), rtol=1e-5)
    np.testing.assert_allclose([one["score"] for one in raw], logits, rtol=1e-4)
    assert "text" not in raw[0]


def test_a_long_pair_loses_either_end_or_is_refused(several: httpx.Client, squashed: Reranker) -> None:
    body = {"model": "squashed", "query": "bread", "texts": ["short", LONG]}
    right = several.post("/rerank", json=body)
    left = several.post("/rerank", json={**body, "truncation_direction": "left"})
    assert right.headers["x-embedge-truncated"] == left.headers["x-embedge-truncated"] == "1"
    scores = {one["index"]: one["score"] for one in left.json()}
    ids = squashed.tokenizer.encode_pairs([("bread", LONG)], side="left").ids
    assert scores[1] == squashed.engine.run(ids)[0, 0]
    refused = several.post("/rerank", json={**body, "truncate": False})
    assert (refused.status_code, refused.json()["error"][:20]) == (413, "texts[1] has more th")


def test_a_score_of_1_has_a_finite_logit_and_a_large_logit_a_score_of_1(reranker: Reranker, squashed: Reranker) -> None:
    scores = np.array([0, 1e-30, 0.5, 1], np.float32)
    logits = as_logits(squashed, scores)
    assert np.isfinite(logits).all()
    assert (np.diff(logits) > 0).all()
    assert logits[3] < 17
    assert as_relevance(reranker, np.array([-1e9, 0, 1e9], np.float32)).tolist() == [0, 0.5, 1]
    assert as_relevance(squashed, scores) is scores
    assert as_logits(reranker, scores) is scores
