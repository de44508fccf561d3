"""OpenAI's routes, by its own client and by plain requests."""

import base64

import httpx
import numpy as np
import pytest
from openai import OpenAI

from embedge import Embedder


@pytest.fixture
def openai_client(url: str) -> OpenAI:
    return OpenAI(base_url=f"{url}/v1", api_key="unused", max_retries=0)


def test_the_official_client_gets_the_librarys_bits(
    openai_client: OpenAI, model: Embedder, passages: list[str]
) -> None:
    answer = openai_client.embeddings.create(model="all-MiniLM-L6-v2", input=passages[:40])
    assert np.array_equal(np.array([one.embedding for one in answer.data], np.float32), model.embed(passages[:40]))
    assert answer.usage.prompt_tokens == sum(model.count_tokens(passages[:40]))
    assert [one.index for one in answer.data] == list(range(40))


def test_floats_and_base64_are_the_same_vectors(client: httpx.Client, model: Embedder) -> None:
    body = {"input": "a text"}
    floats = client.post("/v1/embeddings", json=body).json()["data"][0]["embedding"]
    encoded = client.post("/v1/embeddings", json={**body, "encoding_format": "base64"}).json()["data"][0]["embedding"]
    assert np.array_equal(np.array(floats, np.float32), np.frombuffer(base64.b64decode(encoded), "<f4"))
    assert np.array_equal(np.array(floats, np.float32), model.embed(["a text"])[0])


def test_token_ids_give_the_vector_of_their_text(client: httpx.Client, model: Embedder) -> None:
    whole = model.tokenizer.encode(["a text of some tokens"]).ids[0]
    text = client.post("/v1/embeddings", json={"input": "a text of some tokens"}).json()
    for ids in (whole, whole[1:-1]):
        assert client.post("/v1/embeddings", json={"input": ids}).json() == text
        assert client.post("/v1/embeddings", json={"input": [ids]}).json() == text
