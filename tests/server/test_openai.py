"""OpenAI's routes, by its own client and by plain requests."""

import base64
from typing import Any

import httpx
import numpy as np
import pytest
from openai import APIStatusError, BadRequestError, NotFoundError, OpenAI, RateLimitError

from embedge import Embedder
from embedge.server import Settings
from tests.server.conftest import serving


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


def test_details_say_how_much_of_each_text_its_vector_reads(client: httpx.Client, model: Embedder) -> None:
    long = "the harbour is closed in winter; " * 80
    answer = client.post("/v1/embeddings", json={"input": ["a text", long], "details": True}).json()
    whole, part = answer["details"]
    assert whole == {"tokens": 4, "start": 0, "end": 6}
    assert (part["tokens"], part["start"]) == (model.count_tokens([long])[0], 0)
    read = np.array(answer["data"][1]["embedding"], np.float32)
    assert np.array_equal(read, model.embed([long[: part["end"]]])[0])


def test_a_query_gets_its_prompt_on_request(several: httpx.Client, prompted: Embedder) -> None:
    for prompt, text in (("query", "new: a"), ("document", "a passage: a"), (None, "a passage: a"), ("none", "a")):
        answer = several.post("/v1/embeddings", json={"model": "prompted", "input": "a", "prompt": prompt}).json()
        row = np.array(answer["data"][0]["embedding"], np.float32)
        assert np.array_equal(row, prompted.embed([text], prompt="")[0])


def test_models_are_listed_and_found_by_name(openai_client: OpenAI) -> None:
    listed = openai_client.models.list().data
    assert [one.id for one in listed] == ["sentence-transformers/all-MiniLM-L6-v2"]
    for name in ("sentence-transformers/all-MiniLM-L6-v2", "all-MiniLM-L6-v2"):
        assert openai_client.models.retrieve(name) == listed[0]
    with pytest.raises(NotFoundError, match="there is no model 'other' here"):
        openai_client.models.retrieve("other")


@pytest.mark.parametrize(
    ("request_body", "error", "param", "said"),
    [
        ({"input": []}, BadRequestError, "input", "input is empty: send at least one text"),
        ({"input": ["a", [1]]}, BadRequestError, "input", "input mixes texts and token ids"),
        ({"input": [[5], [-1]]}, BadRequestError, "input", "input[1] has a token id that is not one of 0 to 30521"),
        ({"input": "a", "dimensions": 0}, BadRequestError, "dimensions", "ask for 1 to 384"),
        ({"input": "a", "model": "gpt"}, NotFoundError, "model", "there is no model 'gpt' here"),
        ({"input": "a", "extra_body": {"prompt": "title"}}, BadRequestError, "prompt", "prompt 'title' is not one of"),
        (
            {"input": ["a", "b " * 300], "extra_body": {"truncate": False}},
            BadRequestError,
            "input",
            "input[1] has more than the model's 256 tokens",
        ),
    ],
)
def test_the_official_client_raises_its_own_errors(
    openai_client: OpenAI, request_body: dict[str, Any], error: type[APIStatusError], param: str, said: str
) -> None:
    with pytest.raises(error) as caught:
        openai_client.embeddings.create(**{"model": "all-MiniLM-L6-v2", **request_body})
    assert caught.value.body["param"] == param  # type: ignore[index]
    assert said in caught.value.body["message"]  # type: ignore[index]


def test_a_full_server_is_a_rate_limit_error_that_says_when_to_come_again(model: Embedder) -> None:
    with serving(model, settings=Settings(max_requests=0)) as address:
        client = OpenAI(base_url=f"{address}/v1", api_key="unused", max_retries=0)
        with pytest.raises(RateLimitError) as caught:
            client.embeddings.create(model="all-MiniLM-L6-v2", input="a")
    assert int(caught.value.response.headers["retry-after"]) >= 1


@pytest.mark.parametrize("text", [r"\ud83d", r"\udc00 b", r"a \uD83D\u0041", r"\ud83d\ude00 \ud83d"])
def test_half_of_a_surrogate_pair_is_named(client: httpx.Client, text: str) -> None:
    body = b'{"input": "' + text.encode() + b'"}'
    answer = client.post("/v1/embeddings", content=body, headers={"content-type": "application/json"})
    assert answer.status_code == 400
    assert "is half of a surrogate pair" in answer.json()["error"]["message"]


def test_both_halves_of_a_pair_are_a_character(client: httpx.Client, model: Embedder) -> None:
    body = rb'{"input": "\ud83d\ude00 \\ud83d"}'
    answer = client.post("/v1/embeddings", content=body, headers={"content-type": "application/json"}).json()
    row = np.array(answer["data"][0]["embedding"], np.float32)
    assert np.array_equal(row, model.embed(["\U0001f600 \\ud83d"])[0])
