"""Reranking as Cohere's and Jina's clients ask for it: ``/v1/rerank`` and ``/v2/rerank``."""

from typing import Annotated, Literal, NotRequired, TypedDict

import msgspec
import numpy as np
from msgspec import Meta
from starlette.responses import Response

from embedge.requests import STATUSES, Refused
from embedge.server.bodies import json_response
from embedge.server.dialect import Dialect, Endpoint
from embedge.server.scores import as_relevance
from embedge.server.service import Service


class CohereError(TypedDict):
    """An error of Cohere's routes."""

    message: str


def _error(refused: Refused) -> CohereError:
    return {"message": refused.message}


DIALECT = Dialect(STATUSES, _error, CohereError)


class Document(msgspec.Struct):
    """A text; its other fields are ignored."""

    text: str


class CohereRerankRequest(msgspec.Struct):
    """What ``POST /v1/rerank`` and ``POST /v2/rerank`` take."""

    query: str
    documents: list[str | Document]
    model: Annotated[str | None, Meta(description="May be left out where one reranker is served.")] = None
    top_n: Annotated[int | None, Meta(description="How many results to return, the best first. Default: all.")] = None
    return_documents: Annotated[bool | None, Meta(description="Whether results have the texts. Default: false.")] = None
    max_tokens_per_doc: Annotated[int | None, Meta(description="What a document has beyond them is cut off.")] = None
    truncation: Annotated[bool | None, Meta(description="False refuses what is too long, instead of cutting it.")] = (
        None
    )


class DocumentText(TypedDict):
    """The text of a document."""

    text: str


class Result(TypedDict):
    """A document and how well it answers, between 0 and 1."""

    index: int
    relevance_score: float
    document: NotRequired[DocumentText]


class JinaUsage(TypedDict):
    """Tokens that were run, the query's with each document, and special tokens."""

    prompt_tokens: int
    total_tokens: int


class BilledUnits(TypedDict):
    """Always one: nothing is billed here."""

    search_units: int


class CohereTokens(TypedDict):
    """Tokens that were run, the query's with each document, and special tokens."""

    input_tokens: int


class ApiVersion(TypedDict):
    """The version of Cohere's API."""

    version: str


class CohereMeta(TypedDict):
    """As Cohere gives it."""

    api_version: ApiVersion
    billed_units: BilledUnits
    tokens: CohereTokens


class CohereRerankAnswer(TypedDict):
    """Results, the best first; ``meta`` as Cohere's, ``model``, ``object`` and ``usage`` as Jina's."""

    object: Literal["list"]
    model: str
    results: list[Result]
    meta: CohereMeta
    usage: JinaUsage


async def rerank_v1(service: Service, body: CohereRerankRequest) -> Response:
    """``POST /v1/rerank``."""
    return await _rerank(service, body, "1")


async def rerank_v2(service: Service, body: CohereRerankRequest) -> Response:
    """``POST /v2/rerank``."""
    return await _rerank(service, body, "2")


async def _rerank(service: Service, body: CohereRerankRequest, version: str) -> Response:
    served = service.models.reranker(body.model)
    for field, number in (("top_n", body.top_n), ("max_tokens_per_doc", body.max_tokens_per_doc)):
        if number is not None and number < 1:
            raise Refused("invalid", f"{field} is {number}: ask for 1 or more", field=field)
    if body.truncation is False and body.max_tokens_per_doc is not None:
        reason = "max_tokens_per_doc cuts documents, which truncation=false forbids: leave one of them out"
        raise Refused("invalid", reason, field="truncation")
    texts = [one if isinstance(one, str) else one.text for one in body.documents]
    scored = await service.score(
        served,
        body.query,
        texts,
        field="documents",
        truncate=body.truncation is not False,
        max_text_tokens=body.max_tokens_per_doc,
    )
    relevance = as_relevance(served.model, scored.scores)
    results: list[Result] = []
    for index in np.argsort(-scored.scores, kind="stable")[: body.top_n].tolist():
        result: Result = {"index": index, "relevance_score": relevance[index]}
        if body.return_documents:
            result["document"] = {"text": texts[index]}
        results.append(result)
    tokens = sum(scored.tokens)
    answer: CohereRerankAnswer = {
        "object": "list",
        "model": served.name,
        "results": results,
        "meta": {
            "api_version": {"version": version},
            "billed_units": {"search_units": 1},
            "tokens": {"input_tokens": tokens},
        },
        "usage": {"prompt_tokens": tokens, "total_tokens": tokens},
    }
    return json_response(answer, headers=scored.headers)


_EXAMPLE = {
    "query": "what makes bread rise?",
    "documents": ["ONNX Runtime runs on edge boxes.", "Bread rises by yeast."],
    "top_n": 1,
}

ENDPOINTS = (
    Endpoint(
        "POST", "/v1/rerank", CohereRerankRequest, rerank_v1, DIALECT, "Documents by how well they answer",
        CohereRerankAnswer, _EXAMPLE,
    ),
    Endpoint(
        "POST", "/v2/rerank", CohereRerankRequest, rerank_v2, DIALECT, "Documents by how well they answer",
        CohereRerankAnswer, _EXAMPLE,
    ),
)  # fmt: skip
