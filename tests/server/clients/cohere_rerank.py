"""The ``cohere`` package: reranking by both of its interfaces."""

import json
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

import cohere

case = json.loads(Path(sys.argv[1]).read_text())
# The first versions of the package have Cohere's own address end in /v1.
below = "/v1" if version("cohere").startswith("5.0.") else ""
options: dict[str, Any] = {"api_key": "unused", "base_url": case["url"] + below}
request: dict[str, Any] = {"model": case["reranker"], "query": case["query"], "documents": case["texts"]}


def check(answer: Any, best: int | None = None) -> None:
    assert [one.index for one in answer.results] == case["order"][:best]
    for one in answer.results:
        assert abs(one.relevance_score - case["scores"][one.index]) < 1e-6


first = cohere.Client(**options)
check(first.rerank(**request))
check(first.rerank(**request, top_n=2), 2)
answer = first.rerank(**{**request, "documents": [{"text": text} for text in case["texts"]]}, return_documents=True)
assert answer.results[0].document.text == case["texts"][case["order"][0]]
if hasattr(cohere, "ClientV2"):
    check(cohere.ClientV2(**options).rerank(**request, top_n=3, max_tokens_per_doc=400), 3)
try:
    first.rerank(**{**request, "model": "other"})
except cohere.core.ApiError as exc:
    refused = exc
assert refused.status_code == 404
assert "there is no model 'other'" in str(refused.body)
