"""The ``ollama`` package: sync and async."""

import asyncio
import json
import sys
from pathlib import Path

import numpy as np
import ollama

case = json.loads(Path(sys.argv[1]).read_text())
expected = np.array(case["vectors"], np.float32)


async def check_async() -> None:
    answer = await ollama.AsyncClient(case["url"]).embed(model=case["model"], input=case["texts"])
    assert np.array_equal(np.array(answer["embeddings"], np.float32), expected)


client = ollama.Client(case["url"])
answer = client.embed(model=case["model"], input=case["texts"], options={"num_ctx": 512}, keep_alive="5m")
assert np.array_equal(np.array(answer["embeddings"], np.float32), expected)
names = [one.get("model") or one.get("name") for one in client.list()["models"]]
assert names == case["models"]
try:
    client.embed(model="other", input="a")
except ollama.ResponseError as exc:
    refused = exc
assert refused.status_code == 404
assert "there is no model 'other'" in refused.error
asyncio.run(check_async())
