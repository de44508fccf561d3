"""The official ``openai`` package: sync and async, base64 as it asks for by default, errors."""

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import openai

case = json.loads(Path(sys.argv[1]).read_text())
expected = np.array(case["vectors"], np.float32)
options: dict[str, Any] = {"base_url": f"{case['url']}/v1", "api_key": "unused"}
request: dict[str, Any] = {"model": case["model"], "input": case["texts"]}


def check(answer: openai.types.CreateEmbeddingResponse) -> None:
    rows = np.array([one.embedding for one in answer.data], np.float32)
    assert np.array_equal(rows, expected)
    assert answer.usage.total_tokens == case["tokens"]


async def check_async() -> None:
    async with openai.AsyncOpenAI(**options) as client:
        check(await client.embeddings.create(**request))
        assert [one.id async for one in client.models.list()] == case["models"]


with openai.OpenAI(**options) as client:
    check(client.embeddings.create(**request))
    check(client.embeddings.create(**request, encoding_format="float"))
    fewer = client.embeddings.create(**request, extra_body={"dimensions": 64})
    assert len(fewer.data[0].embedding) == 64
    assert [one.id for one in client.models.list()] == case["models"]
    for bad, error in (({"model": "other"}, openai.NotFoundError), ({"input": []}, openai.BadRequestError)):
        try:
            client.embeddings.create(**{**request, **bad})
        except error:
            continue
        raise AssertionError(bad)
asyncio.run(check_async())
