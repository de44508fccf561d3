"""OpenAI's embeddings: ``/v1/embeddings`` and ``/v1/models``, with its error bodies.

Beside the standard fields there are ``prompt`` (``"query"``, ``"document"``, another name of the model's prompts, or
``"none"``; by default documents, as :meth:`embedge.Embedder.embed` takes them) and ``truncate`` (default true: what is
cut is counted in the header ``x-embedge-truncated``; false refuses it).
"""

import base64
from typing import Any, Literal

import msgspec
import numpy as np
from starlette.responses import Response

from embedge.loaded import LoadedModel
from embedge.server.bodies import json_response
from embedge.server.dialect import STATUSES, Dialect, Endpoint, Kind, Refused
from embedge.server.models import Served
from embedge.server.prompts import find_prompt
from embedge.server.service import Service

_CODES: dict[Kind, tuple[str, str | None]] = {
    "overloaded": ("rate_limit_error", "rate_limit_exceeded"),
    "unauthorized": ("invalid_request_error", "invalid_api_key"),
    "unknown_model": ("invalid_request_error", "model_not_found"),
    "unknown_route": ("invalid_request_error", "unknown_url"),
    "failed": ("server_error", None),
}


def _error(refused: Refused) -> dict[str, Any]:
    kind, code = _CODES.get(refused.kind, ("invalid_request_error", None))
    return {"error": {"message": refused.message, "type": kind, "param": refused.field, "code": code}}


DIALECT = Dialect("OpenAI", STATUSES, _error)


class EmbeddingsRequest(msgspec.Struct):
    """What ``POST /v1/embeddings`` takes."""

    input: str | list[str | int | list[int]]
    model: str | None = None
    encoding_format: Literal["float", "base64"] | None = None
    dimensions: int | None = None
    user: str | None = None
    prompt: str | None = None
    truncate: bool = True


async def embeddings(service: Service, body: EmbeddingsRequest) -> Response:
    """``POST /v1/embeddings``."""
    served = service.models.embedder(body.model)
    prompt = find_prompt(served.model, body.prompt, default="document")
    texts, ids = _split(body.input)
    if ids:
        embedded = await service.embed_ids(
            served, ids, field="input", truncate=body.truncate, dimensions=body.dimensions
        )
    else:
        embedded = await service.embed(
            served, texts, field="input", prompt=prompt, truncate=body.truncate, dimensions=body.dimensions
        )
    rows = embedded.vectors.astype("<f4", copy=False)
    as_base64 = body.encoding_format == "base64"
    data = [
        {"object": "embedding", "index": index, "embedding": base64.b64encode(row).decode() if as_base64 else row}
        for index, row in enumerate(np.ascontiguousarray(rows))
    ]
    tokens = sum(embedded.tokens)
    usage = {"prompt_tokens": tokens, "total_tokens": tokens}
    answer = {"object": "list", "data": data, "model": served.name, "usage": usage}
    return json_response(answer, headers=embedded.headers)


def _split(value: str | list[str | int | list[int]]) -> tuple[list[str], list[list[int]]]:
    """The texts or the lists of token ids that ``input`` has; one of the two is empty."""
    if isinstance(value, str):
        return [value], []
    texts = [item for item in value if isinstance(item, str)]
    numbers = [item for item in value if isinstance(item, int)]
    lists = [item for item in value if isinstance(item, list)]
    if len(value) not in (len(texts), len(numbers), len(lists)):
        raise Refused("invalid", "input mixes texts and token ids: send either", field="input")
    return texts, [numbers] if numbers else lists


async def models(service: Service, _: object) -> Response:
    """``GET /v1/models``."""
    return json_response({"object": "list", "data": [_describe(served) for served in service.models]})


async def model(service: Service, path: dict[str, str]) -> Response:
    """``GET /v1/models/{name}``."""
    return json_response(_describe(service.models.get(path["name"])))


def _describe(served: Served[LoadedModel]) -> dict[str, Any]:
    return {"id": served.name, "object": "model", "created": served.since, "owned_by": "embedge"}


ENDPOINTS = (
    Endpoint("POST", "/v1/embeddings", EmbeddingsRequest, embeddings, DIALECT, "Vectors of texts or token ids"),
    Endpoint("GET", "/v1/models", None, models, DIALECT, "The models that are served"),
    Endpoint("GET", "/v1/models/{name:path}", None, model, DIALECT, "One model"),
)
