"""Ollama's embeddings: ``/api/embed``, ``/api/tags`` and ``/api/version``, with its error bodies."""

import datetime
import time
from typing import Annotated, Any, NotRequired, TypedDict

import msgspec
from msgspec import Meta
from starlette.responses import Response

from embedge import __version__
from embedge.loaded import LoadedModel
from embedge.requests import STATUSES, Refused, find_prompt
from embedge.server.bodies import json_response
from embedge.server.dialect import Dialect, Endpoint
from embedge.server.models import Served
from embedge.server.service import Detail, Service


class OllamaError(TypedDict):
    """An error of Ollama's routes."""

    error: str


def _error(refused: Refused) -> OllamaError:
    return {"error": refused.message}


DIALECT = Dialect(
    STATUSES,
    _error,
    OllamaError,
    # Ollama's own examples call curl without a content type, which then says it sends a form. A page of another origin
    # can send that without asking, too. It gains nothing: it can't read the answer, and no request changes anything.
    media_types=("application/json", "application/x-www-form-urlencoded", ""),
)


class OllamaEmbedRequest(msgspec.Struct):
    """What ``POST /api/embed`` takes."""

    input: str | list[str]
    model: Annotated[str | None, Meta(description="May be left out where one embedder is served.")] = None
    truncate: Annotated[bool | None, Meta(description="False refuses a text that is too long. Default: true.")] = None
    dimensions: Annotated[int | None, Meta(description="Keep the first ones only. Default: all.")] = None
    keep_alive: Annotated[Any, Meta(description="Ignored: models stay loaded.")] = None
    options: Annotated[Any, Meta(description="Ignored.")] = None
    prompt: Annotated[
        str | None,
        Meta(description="Not in Ollama: `query`, `document`, another of the model's, or `none`. Default: document."),
    ] = None
    details: Annotated[
        bool, Meta(description="Not in Ollama: whether to say how much of each text its vector reads.")
    ] = False


class OllamaEmbedAnswer(TypedDict):
    """Vectors of length 1 in the order of the texts; durations in nanoseconds."""

    model: str
    embeddings: list[list[float]]
    total_duration: int
    load_duration: int
    prompt_eval_count: Annotated[int, Meta(description="Tokens that were run, special tokens and prompts included.")]
    details: NotRequired[list[Detail]]


class OllamaModelDetails(TypedDict):
    """What a model is."""

    parent_model: str
    format: str
    family: str
    families: list[str]
    parameter_size: str
    quantization_level: str


class OllamaModel(TypedDict):
    """A model that is served."""

    name: str
    model: str
    modified_at: str
    size: int
    digest: str
    details: OllamaModelDetails


class OllamaTags(TypedDict):
    """The models that are served."""

    models: list[OllamaModel]


class OllamaVersion(TypedDict):
    """embedge's version."""

    version: str


async def embed(service: Service, body: OllamaEmbedRequest) -> Response:
    """``POST /api/embed``."""
    began = time.perf_counter_ns()
    served = service.models.embedder(body.model)
    embedded = await service.embed(
        served,
        list(body.input) if isinstance(body.input, list) else body.input,
        field="input",
        prompt=find_prompt(served.model, body.prompt, default="document", field="prompt"),
        truncate=body.truncate is not False,
        dimensions=body.dimensions,
        normalize=True,
        details=body.details,
    )
    answer: dict[str, Any] = {
        "model": body.model or served.name,
        "embeddings": embedded.vectors,
        "total_duration": time.perf_counter_ns() - began,
        "load_duration": 0,
        "prompt_eval_count": sum(embedded.tokens),
    }
    if embedded.details is not None:
        answer["details"] = embedded.details
    return json_response(answer, headers=embedded.headers)


async def tags(service: Service, _: object) -> Response:
    """``GET /api/tags``."""
    answer: OllamaTags = {"models": [_describe(served) for served in service.models]}
    return json_response(answer)


def _describe(served: Served[LoadedModel]) -> OllamaModel:
    manifest, variant = served.model.manifest, served.model.variant
    return {
        "name": served.name,
        "model": served.name,
        "modified_at": datetime.datetime.fromtimestamp(served.since, datetime.UTC).isoformat(),
        "size": sum(manifest.files[name].bytes for name in manifest.variants[variant].files),
        "digest": manifest.identity(),
        "details": {
            "parent_model": manifest.source.id,
            "format": "onnx",
            "family": manifest.task,
            "families": [manifest.task],
            "parameter_size": "",
            "quantization_level": variant,
        },
    }


async def version(service: Service, _: object) -> Response:
    """``GET /api/version``."""
    answer: OllamaVersion = {"version": __version__}
    return json_response(answer)


ENDPOINTS = (
    Endpoint(
        "POST", "/api/embed", OllamaEmbedRequest, embed, DIALECT, "Vectors of texts",
        OllamaEmbedAnswer, {"input": ["Bread rises by yeast.", "ONNX Runtime runs on edge boxes."]},
    ),
    Endpoint("GET", "/api/tags", None, tags, DIALECT, "The models that are served", OllamaTags),
    Endpoint("GET", "/api/version", None, version, DIALECT, "embedge's version", OllamaVersion),
)  # fmt: skip
