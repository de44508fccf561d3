"""OpenAI's embeddings: ``/v1/embeddings`` and ``/v1/models``, with its error bodies.

Beside the standard fields there are ``prompt``, ``truncate`` and ``details``; see the reference at ``/docs``.
"""

import base64
from typing import Annotated, Any, Literal, NotRequired, TypedDict

import msgspec
import numpy as np
from msgspec import Meta
from starlette.responses import Response

from embedge.loaded import LoadedModel
from embedge.requests import STATUSES, find_prompt, openai_error
from embedge.server.bodies import json_response
from embedge.server.dialect import Dialect, Endpoint
from embedge.server.models import Served
from embedge.server.service import Detail, Input, Service


class OpenAIErrorBody(TypedDict):
    """What went wrong."""

    message: str
    type: str
    param: Annotated[str | None, Meta(description="The field that is to blame.")]
    code: str | None


class OpenAIError(TypedDict):
    """An error of OpenAI's routes."""

    error: OpenAIErrorBody


DIALECT = Dialect(STATUSES, openai_error, OpenAIError)


class EmbeddingsRequest(msgspec.Struct):
    """What ``POST /v1/embeddings`` takes."""

    input: Annotated[
        Input, Meta(description="A text, texts, token ids of the model's own tokenizer, or lists of them.")
    ]
    model: Annotated[str | None, Meta(description="May be left out where one embedder is served.")] = None
    encoding_format: Annotated[
        Literal["float", "base64"] | None, Meta(description="Base64 is of little-endian float32. Default: float.")
    ] = None
    dimensions: Annotated[int | None, Meta(description="Keep the first ones only. Default: all.")] = None
    user: Annotated[str | None, Meta(description="Ignored.")] = None
    prompt: Annotated[
        str | None,
        Meta(description="`query`, `document`, another name of the model's prompts, or `none`. Default: document."),
    ] = None
    truncate: Annotated[bool, Meta(description="False refuses a text that is too long, instead of cutting it.")] = True
    details: Annotated[bool, Meta(description="Whether to say how much of each text its vector reads.")] = False


class Embedding(TypedDict):
    """The vector of one text."""

    object: Literal["embedding"]
    index: int
    embedding: Annotated[list[float] | str, Meta(description="Numbers, or base64 where that was asked for.")]


class OpenAIUsage(TypedDict):
    """Tokens that were run, special tokens and prompts included."""

    prompt_tokens: int
    total_tokens: int


class Embeddings(TypedDict):
    """Vectors in the order of the texts."""

    object: Literal["list"]
    data: list[Embedding]
    model: str
    usage: OpenAIUsage
    details: NotRequired[list[Detail]]


class ModelObject(TypedDict):
    """A model that is served."""

    id: str
    object: Literal["model"]
    created: Annotated[int, Meta(description="When the server started, in seconds since 1970.")]
    owned_by: str


class ModelList(TypedDict):
    """The models that are served."""

    object: Literal["list"]
    data: list[ModelObject]


async def embeddings(service: Service, body: EmbeddingsRequest) -> Response:
    """``POST /v1/embeddings``."""
    served = service.models.embedder(body.model)
    embedded = await service.embed(
        served,
        body.input,
        field="input",
        prompt=find_prompt(served.model, body.prompt, default="document", field="prompt"),
        truncate=body.truncate,
        dimensions=body.dimensions,
        details=body.details,
    )
    rows: Any = np.ascontiguousarray(embedded.vectors, "<f4")
    if body.encoding_format == "base64":
        rows = [base64.b64encode(row).decode() for row in rows]
    tokens = sum(embedded.tokens)
    answer: Embeddings = {
        "object": "list",
        "data": [{"object": "embedding", "index": index, "embedding": row} for index, row in enumerate(rows)],
        "model": served.name,
        "usage": {"prompt_tokens": tokens, "total_tokens": tokens},
    }
    if embedded.details is not None:
        answer["details"] = embedded.details
    return json_response(answer, headers=embedded.headers)


async def models(service: Service, _: object) -> Response:
    """``GET /v1/models``."""
    answer: ModelList = {"object": "list", "data": [_describe(served) for served in service.models]}
    return json_response(answer)


async def model(service: Service, path: dict[str, str]) -> Response:
    """``GET /v1/models/{name}``."""
    return json_response(_describe(service.models.get(path["name"])))


def _describe(served: Served[LoadedModel]) -> ModelObject:
    return {"id": served.name, "object": "model", "created": served.since, "owned_by": "embedge"}


ENDPOINTS = (
    Endpoint(
        "POST", "/v1/embeddings", EmbeddingsRequest, embeddings, DIALECT, "Vectors of texts or token ids",
        Embeddings, {"input": ["Bread rises by yeast.", "ONNX Runtime runs on edge boxes."]},
    ),
    Endpoint("GET", "/v1/models", None, models, DIALECT, "The models that are served", ModelList),
    Endpoint("GET", "/v1/models/{name:path}", None, model, DIALECT, "One model", ModelObject),
)  # fmt: skip
