"""Many clients at once over real sockets: everybody gets the library's bits or a refusal, and nobody a hang."""

import asyncio
import base64
import random
import re
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from embedge import Embedder, Reranker
from embedge.requests import Refused
from embedge.server import Settings, create_app
from embedge.server.service import Service
from embedge.vectors import FloatArray
from embedge_export import export
from tests.cases import write_checkpoint
from tests.layouts import write_reranker
from tests.server.conftest import serving

_WAIT_S = 60


def ask(texts: list[str]) -> dict[str, Any]:
    """The body of a request for vectors, as the official client sends it."""
    return {"input": texts, "encoding_format": "base64"}


def vectors(answer: httpx.Response) -> FloatArray:
    rows = [base64.b64decode(one["embedding"]) for one in answer.json()["data"]]
    return np.frombuffer(b"".join(rows), "<f4").reshape(len(rows), -1)


def figure(client: httpx.Client, name: str) -> float:
    """One of the server's metrics."""
    found = re.search(rf"^embedge_{name} (\S+)$", client.get("/metrics").text, re.MULTILINE)
    assert found
    return float(found[1])


def wait_until(holds: Callable[[], bool]) -> None:
    until = time.monotonic() + _WAIT_S
    while not holds():
        assert time.monotonic() < until
        time.sleep(0.005)


@pytest.fixture
def served(model: Embedder) -> Iterator[httpx.Client]:
    """A client of a server of its own, whose metrics begin at zero."""
    with serving(model) as address, httpx.Client(base_url=address, timeout=_WAIT_S) as client:
        yield client


@pytest.fixture(scope="module")
def reranker(minilm: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Reranker]:
    place = tmp_path_factory.mktemp("reranker")
    export(write_reranker(write_checkpoint(place / "tiny", minilm, None)), place / "bundle", precision=["fp32"])
    with Reranker.load(place / "bundle", threads=2) as loaded:
        yield loaded


def test_32_clients_at_once_get_the_librarys_bits(url: str, model: Embedder, passages: list[str]) -> None:
    expected = dict(zip(passages, model.embed(passages), strict=True))

    def use(number: int) -> None:
        draw = random.Random(number)
        for _ in range(3):
            texts = draw.sample(passages, k=draw.choice([1, 1, 1, 2, 5, 20]))
            answer = client.post("/v1/embeddings", json=ask(texts))
            assert answer.status_code == 200
            assert vectors(answer).tobytes() == b"".join(expected[text].tobytes() for text in texts)

    with httpx.Client(base_url=url, timeout=_WAIT_S) as client, ThreadPoolExecutor(32) as clients:
        list(clients.map(use, range(32)))


def test_two_embedders_and_a_reranker_at_once_give_the_librarys_bits(
    model: Embedder, cls_bundle: Path, reranker: Reranker, passages: list[str]
) -> None:
    async def use(service: Service, other: Embedder) -> None:
        embedders = [service.models.embedder(names[one]) for one in (model, other)]
        ranking = service.models.reranker(None)

        async def embed(number: int) -> None:
            served = embedders[number % 2]
            texts = passages[number : number + number % 7 + 1]
            found = await service.embed(served, texts, field="input")
            assert np.array_equal(found.vectors, expected[served.name][number : number + len(texts)])

        async def score(number: int) -> None:
            texts = [text for _, text in pairs[number : number + 3]]
            found = await service.score(ranking, pairs[0][0], texts, field="texts")
            assert np.array_equal(found.scores, scores[number : number + 3])

        await asyncio.gather(*(work(number) for number in range(24) for work in (embed, score)))

    pairs = [("what runs at the edge?", passage) for passage in passages[:30]]
    with Embedder.load(cls_bundle) as other:
        service: Service = create_app([model, other, reranker]).state.service
        names = {served.model: served.name for served in service.models}
        expected = {names[one]: one.embed(passages[:40]) for one in (model, other)}
        scores = reranker.scores(pairs)
        asyncio.run(use(service, other))
        service.queue.close()


def test_300_connections_on_a_small_queue_get_vectors_or_a_time_to_come_again(model: Embedder) -> None:
    texts = [f"text number {number}" for number in range(300)]
    expected = model.embed(texts)

    async def use(address: str) -> list[httpx.Response]:
        limits = httpx.Limits(max_connections=None)
        async with httpx.AsyncClient(base_url=address, timeout=_WAIT_S, limits=limits) as client:
            return await asyncio.gather(*(client.post("/v1/embeddings", json=ask([text])) for text in texts))

    with serving(model, settings=Settings(max_queued_tokens=64, max_requests=40)) as address:
        answers = asyncio.run(use(address))
    assert {answer.status_code for answer in answers} == {200, 429}
    for answer, row in zip(answers, expected, strict=True):
        if answer.status_code == 200:
            assert vectors(answer)[0].tobytes() == row.tobytes()
        else:
            assert int(answer.headers["retry-after"]) >= 1


def test_more_tokens_than_the_queue_ever_takes_are_refused_for_good(model: Embedder) -> None:
    with (
        serving(model, settings=Settings(max_queued_tokens=64)) as address,
        httpx.Client(base_url=address, timeout=_WAIT_S) as client,
    ):
        answer = client.post("/v1/embeddings", json=ask(["a text"] * 30))
        assert answer.status_code == 413
        assert "retry-after" not in answer.headers
        assert client.post("/v1/embeddings", json=ask(["a text"] * 3)).status_code == 200


def test_a_query_is_answered_while_a_long_request_is_under_way(
    served: httpx.Client, model: Embedder, passages: list[str]
) -> None:
    texts = (passages * 100)[:400]
    long = threading.Thread(target=lambda: served.post("/v1/embeddings", json=ask(texts)))
    long.start()
    wait_until(lambda: figure(served, "texts_total") > 0)
    answer = served.post("/v1/embeddings", json=ask(["a query"]))
    assert figure(served, "texts_total") < len(texts)
    assert vectors(answer).tobytes() == model.embed(["a query"]).tobytes()
    long.join()


def test_a_client_that_goes_away_frees_its_place_and_its_texts_are_not_run(
    model: Embedder, passages: list[str]
) -> None:
    texts = (passages * 100)[:400]
    body = httpx.Request("POST", "http://localhost", json=ask(texts)).read()
    head = f"POST /v1/embeddings HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: {len(body)}"
    with (
        serving(model, settings=Settings(max_requests=1)) as address,
        httpx.Client(base_url=address, timeout=_WAIT_S) as client,
    ):
        with socket.create_connection(("127.0.0.1", httpx.URL(address).port or 0)) as connection:
            connection.sendall(head.encode() + b"\r\n\r\n" + body)
            wait_until(lambda: figure(client, "texts_total") > 0)
            assert client.post("/v1/embeddings", json=ask(["a text"])).status_code == 429
        wait_until(lambda: client.post("/v1/embeddings", json=ask(["a text"])).status_code == 200)
        assert figure(client, "queue_tokens") == 0
        assert figure(client, "texts_total") < len(texts)


def test_bodies_count_until_their_requests_are_answered(model: Embedder, monkeypatch: pytest.MonkeyPatch) -> None:
    app = create_app(model, Settings(max_buffered_bytes=1000))

    async def use() -> None:
        begun, go = asyncio.Event(), asyncio.Event()
        embed = app.state.service.embed

        async def wait(*arguments: Any, **options: Any) -> Any:
            begun.set()
            await go.wait()
            return await embed(*arguments, **options)

        monkeypatch.setattr(app.state.service, "embed", wait)
        body = ask(["a" * 600])
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as client:
            first = asyncio.create_task(client.post("/v1/embeddings", json=body))
            await begun.wait()
            refused = await asyncio.wait_for(client.post("/v1/embeddings", json=body), _WAIT_S / 6)
            assert (refused.status_code, refused.headers["retry-after"]) == (429, "1")
            go.set()
            assert (await first).status_code == 200
            assert (await client.post("/v1/embeddings", json=body)).status_code == 200

    asyncio.run(use())


def test_tokens_that_are_listed_count_with_those_that_wait(model: Embedder) -> None:
    service: Service = create_app(model, Settings(max_queued_tokens=15)).state.service
    served = service.models.any(None)
    texts = ["a b c d e f g h"]

    async def use() -> None:
        async with service.tokens(served, texts, field="inputs", special=True) as found:
            assert len(found.tokens[0]) == 10
            with pytest.raises(Refused, match="10 tokens wait already") as refused:
                async with service.tokens(served, texts, field="inputs", special=True):
                    pass
            assert refused.value.kind == "overloaded"
        async with service.tokens(served, texts, field="inputs", special=True):
            pass

    asyncio.run(use())


def test_only_texts_that_were_run_count_as_truncated(served: httpx.Client) -> None:
    body = ask(["a text " * 500])
    assert served.post("/v1/embeddings", json={**body, "truncate": False}).status_code == 400
    assert figure(served, "truncated_texts_total") == 0
    assert served.post("/v1/embeddings", json=body).status_code == 200
    assert figure(served, "truncated_texts_total") == 1
