"""Ollama's routes, by plain requests."""

import subprocess
from typing import Any

import httpx
import numpy as np
import pytest

import embedge
from embedge import Embedder

TEXTS = ["Bread rises by yeast.", "ONNX Runtime runs on edge boxes."]


def test_vectors_are_the_librarys_bits(client: httpx.Client, model: Embedder) -> None:
    answer = client.post("/api/embed", json={"model": "all-MiniLM-L6-v2:latest", "input": TEXTS}).json()
    assert np.array_equal(np.array(answer["embeddings"], np.float32), model.embed(TEXTS))
    assert answer["prompt_eval_count"] == sum(model.count_tokens(TEXTS))
    assert answer["model"] == "all-MiniLM-L6-v2:latest"
    assert answer["total_duration"] > answer["load_duration"] == 0
    one = client.post("/api/embed", json={"input": TEXTS[0], "keep_alive": "5m", "options": {"num_ctx": 9}}).json()
    assert one["embeddings"] == answer["embeddings"][:1]


def test_vectors_have_length_1_whatever_the_models_have(several: httpx.Client, prompted: Embedder) -> None:
    body = {"model": "prompted", "input": TEXTS, "dimensions": 7}
    rows = np.array(several.post("/api/embed", json=body).json()["embeddings"], np.float32)
    own = prompted.embed(TEXTS, dimensions=7)
    np.testing.assert_allclose(rows, own / np.linalg.norm(own, axis=1, keepdims=True), rtol=1e-6)


def test_a_prompt_and_details_may_be_asked_for(several: httpx.Client, prompted: Embedder) -> None:
    body = {"model": "prompted", "input": "a text", "prompt": "query", "details": True}
    answer = several.post("/api/embed", json=body).json()
    tokens = prompted.count_tokens(["new: a text"])[0]
    assert answer["details"] == [{"tokens": tokens, "start": 0, "end": 6}]
    assert answer["prompt_eval_count"] == tokens


def test_curl_as_ollamas_pages_call_it(url: str, client: httpx.Client) -> None:
    """Without a content type, which curl then calls a form."""
    command = ["curl", "-s", f"{url}/api/embed", "-d", '{"model": "all-MiniLM-L6-v2", "input": "a"}']
    done = subprocess.run(command, capture_output=True, check=True, timeout=30)
    assert b'"embeddings":[[' in done.stdout
    assert client.post("/v1/embeddings", data={"input": "a"}).status_code == 415


def test_models_and_the_version_are_listed(several: httpx.Client) -> None:
    models = several.get("/api/tags").json()["models"]
    assert [one["name"] for one in models] == [
        "sentence-transformers/all-MiniLM-L6-v2",
        "prompted",
        "trained",
        "squashed",
    ]
    assert models[0]["size"] > 20_000_000
    assert several.get("/api/version").json() == {"version": embedge.__version__}


@pytest.mark.parametrize(
    ("body", "status", "said"),
    [
        ({"input": ["a", "b " * 300], "truncate": False}, 400, "input[1] has more than the model's 256 tokens"),
        ({"input": []}, 400, "input is empty"),
        ({"input": [1]}, 400, "input[0]: Expected `str`, got `int`"),
        ({"input": "a", "model": "other"}, 404, "there is no model 'other'"),
        ({"input": "a", "dimensions": -1}, 400, "dimensions=-1"),
    ],
)
def test_what_can_not_be_done_is_refused_in_ollamas_words(
    client: httpx.Client, body: dict[str, Any], status: int, said: str
) -> None:
    answer = client.post("/api/embed", json=body)
    assert (answer.status_code, set(answer.json())) == (status, {"error"})
    assert said in answer.json()["error"]
