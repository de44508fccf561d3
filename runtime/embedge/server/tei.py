"""Text Embeddings Inference: ``/embed``, ``/rerank``, ``/tokenize``, ``/info`` and ``/health``, with its error bodies.

Requests name no model there. So ``model`` is one more field of each body, for servers of several models.
"""

import functools
import itertools
from collections.abc import Sequence
from typing import Annotated, Any, Literal, NotRequired, TypedDict

import msgspec
import numpy as np
from msgspec import Meta
from starlette.responses import Response

from embedge import __version__
from embedge.loaded import LoadedModel
from embedge.server.bodies import json_response
from embedge.server.dialect import STATUSES, Dialect, Endpoint, Kind, Refused
from embedge.server.models import Served
from embedge.server.prompts import find_prompt
from embedge.server.scores import as_logits, as_relevance
from embedge.server.service import Detail, Input, Service, off_loop
from embedge.tokenizer import Side, Token

_TYPES: dict[Kind, str] = {
    "empty": "Empty",
    "overloaded": "Overloaded",
    "failed": "Backend",
    "unknown_model": "Backend",
}
_DTYPES = {"fp32": "float32", "fp16": "float16"}


class TEIError(TypedDict):
    """An error of TEI's routes."""

    error: str
    error_type: str


def _error(refused: Refused) -> TEIError:
    return {"error": refused.message, "error_type": _TYPES.get(refused.kind, "Validation")}


# TEI answers 424 where the model that it serves is of the wrong kind.
DIALECT = Dialect("TEI", {**STATUSES, "invalid": 422, "unknown_model": 424, "failed": 424}, _error, TEIError)

Direction = Literal["Left", "Right", "left", "right"]
_MODEL = Meta(description="Not in TEI. May be left out where one model can do this.")
_TRUNCATE = Meta(description="False refuses a text that is too long, instead of cutting it. Default: true.")
_DIRECTION = Meta(description="The end that a text loses. Default: the one that the model is made for, mostly right.")
_PROMPT = Meta(description="A name of the model's prompts, or `none`. Default: the model's default prompt, if any.")


class EmbedRequest(msgspec.Struct):
    """What ``POST /embed`` takes."""

    inputs: Annotated[
        Input, Meta(description="A text, texts, token ids of the model's own tokenizer, or lists of them.")
    ]
    normalize: Annotated[
        bool, Meta(description="Whether vectors get length 1. False is refused by models whose vectors always have it.")
    ] = True
    truncate: Annotated[bool | None, _TRUNCATE] = None
    truncation_direction: Annotated[Direction | None, _DIRECTION] = None
    prompt_name: Annotated[str | None, _PROMPT] = None
    dimensions: Annotated[int | None, Meta(description="Keep the first ones only. Default: all.")] = None
    model: Annotated[str | None, _MODEL] = None
    details: Annotated[
        bool, Meta(description="Not in TEI. True answers with `embeddings` and `details` in an object.")
    ] = False


class DetailedVectors(TypedDict):
    """What ``/embed`` answers with ``details``."""

    embeddings: list[list[float]]
    details: list[Detail]


class TokenizeRequest(msgspec.Struct):
    """What ``POST /tokenize`` takes."""

    inputs: str | list[str]
    add_special_tokens: bool = True
    prompt_name: Annotated[str | None, _PROMPT] = None
    model: Annotated[str | None, _MODEL] = None


class SimpleToken(TypedDict):
    """A token; ``start`` and ``stop`` are offsets in bytes of UTF-8, prompt included, ``null`` for special tokens."""

    id: int
    text: str
    special: bool
    start: int | None
    stop: int | None


class RerankRequest(msgspec.Struct):
    """What ``POST /rerank`` takes."""

    query: str
    texts: list[str]
    raw_scores: Annotated[bool, Meta(description="Whether scores are logits, instead of between 0 and 1.")] = False
    return_text: bool = False
    truncate: Annotated[bool | None, _TRUNCATE] = None
    truncation_direction: Annotated[Direction | None, _DIRECTION] = None
    model: Annotated[str | None, _MODEL] = None


class Rank(TypedDict):
    """A text and its score; the best comes first."""

    index: int
    text: NotRequired[str]
    score: float


class ModelInfo(TypedDict):
    """A model that is served."""

    name: str
    model_id: str
    model_sha: str | None
    model_dtype: str
    model_type: dict[str, dict[str, Any]]
    max_input_length: int
    dimensions: int
    prompts: dict[str, str]
    variant: str
    fingerprint: Annotated[str, Meta(description="Vectors may be compared where it is the same.")]


class Info(TypedDict):
    """What TEI says of itself, of the first model; ``models`` has all."""

    model_id: str
    model_sha: str | None
    model_dtype: str
    served_model_name: str
    model_type: dict[str, dict[str, Any]]
    max_concurrent_requests: int
    max_input_length: int
    max_batch_tokens: int
    max_batch_requests: int | None
    max_client_batch_size: int
    auto_truncate: bool
    tokenization_workers: int
    version: str
    sha: str | None
    docker_label: str | None
    variant: str
    fingerprint: str
    models: list[ModelInfo]


def _side(direction: Direction | None) -> Side | None:
    if direction is None:
        return None
    return "left" if direction.lower() == "left" else "right"


async def embed(service: Service, body: EmbedRequest) -> Response:
    """``POST /embed``, and ``POST /``."""
    served = service.models.embedder(body.model)
    manifest = served.model.manifest
    if manifest.normalized and not body.normalize:
        raise Refused("invalid", "normalize: this model's vectors always have length 1", field="normalize")
    embedded = await service.embed(
        served,
        body.inputs,
        field="inputs",
        prompt=find_prompt(served.model, body.prompt_name, default=manifest.default_prompt, field="prompt_name"),
        truncate=body.truncate is not False,
        side=_side(body.truncation_direction),
        dimensions=body.dimensions,
        normalize=body.normalize,
        details=body.details,
    )
    vectors = embedded.vectors
    answer = vectors if embedded.details is None else {"embeddings": vectors, "details": embedded.details}
    return json_response(answer, headers=embedded.headers)


async def tokenize(service: Service, body: TokenizeRequest) -> Response:
    """``POST /tokenize``."""
    served = service.models.any(body.model)
    texts = [body.inputs] if isinstance(body.inputs, str) else body.inputs
    if body.prompt_name is not None:
        served_embedder = service.models.embedder(served.name)
        prompt = find_prompt(served_embedder.model, body.prompt_name, default=None, field="prompt_name")
        texts = [prompt + text for text in texts]
    found = await service.tokens(served, texts, field="inputs", special=body.add_special_tokens)
    work = functools.partial(_locate, texts, found.tokens)
    return json_response(await off_loop(sum(map(len, found.tokens)), work), headers=found.headers)


def _locate(texts: Sequence[str], found: Sequence[Sequence[Token]]) -> list[list[SimpleToken]]:
    """The tokens of each text as TEI has them."""
    answer: list[list[SimpleToken]] = []
    for text, tokens in zip(texts, found, strict=True):
        at = _byte_offsets(text)
        answer.append(
            [
                {
                    "id": token.id,
                    "text": token.text,
                    "special": token.special,
                    "start": None if token.start is None else at[token.start],
                    "stop": None if token.end is None else at[token.end],
                }
                for token in tokens
            ]
        )
    return answer


def _byte_offsets(text: str) -> range | list[int]:
    """Where each character begins in UTF-8, and where the last one ends."""
    if text.isascii():
        return range(len(text) + 1)
    return [0, *itertools.accumulate(len(character.encode()) for character in text)]


async def rerank(service: Service, body: RerankRequest) -> Response:
    """``POST /rerank``."""
    served = service.models.reranker(body.model)
    scored = await service.score(
        served,
        body.query,
        body.texts,
        field="texts",
        truncate=body.truncate is not False,
        side=_side(body.truncation_direction),
    )
    scores = (as_logits if body.raw_scores else as_relevance)(served.model, scored.scores)
    answer: list[Rank] = []
    for index in np.argsort(-scored.scores, kind="stable").tolist():
        rank: Rank = {"index": index, "score": scores[index]}
        if body.return_text:
            rank["text"] = body.texts[index]
        answer.append(rank)
    return json_response(answer, headers=scored.headers)


async def info(service: Service, _: object) -> Response:
    """``GET /info``."""
    models = [_describe(served) for served in service.models]
    first, settings = models[0], service.settings
    answer: Info = {
        "model_id": first["model_id"],
        "model_sha": first["model_sha"],
        "model_dtype": first["model_dtype"],
        "served_model_name": first["name"],
        "model_type": first["model_type"],
        "max_concurrent_requests": settings.max_requests,
        "max_input_length": first["max_input_length"],
        "max_batch_tokens": settings.max_queued_tokens,
        "max_batch_requests": None,
        "max_client_batch_size": settings.max_texts,
        "auto_truncate": True,
        "tokenization_workers": 1,
        "version": __version__,
        "sha": None,
        "docker_label": None,
        "variant": first["variant"],
        "fingerprint": first["fingerprint"],
        "models": models,
    }
    return json_response(answer)


def _describe(served: Served[LoadedModel]) -> ModelInfo:
    model, manifest = served.model, served.model.manifest
    if manifest.task == "rerank":
        kind: dict[str, dict[str, Any]] = {"reranker": {"id2label": {"0": "LABEL_0"}, "label2id": {"LABEL_0": 0}}}
    else:
        kind = {"embedding": {"pooling": manifest.pooling}}
    return {
        "name": served.name,
        "model_id": manifest.source.id,
        "model_sha": manifest.source.revision,
        "model_dtype": _DTYPES.get(model.variant, model.variant),
        "model_type": kind,
        "max_input_length": model.max_tokens,
        "dimensions": manifest.dimensions,
        "prompts": dict(manifest.prompts),
        "variant": model.variant,
        "fingerprint": served.fingerprint,
    }


async def health(service: Service, _: object) -> Response:
    """``GET /health``: an empty answer; 503 while the server stops."""
    if service.stopping:
        return json_response({"error": "the server stops", "error_type": "Unhealthy"}, status=503)
    return Response()


_EXAMPLE = {"inputs": ["Bread rises by yeast.", "ONNX Runtime runs on edge boxes."]}
_PAIRS = {"query": "what makes bread rise?", "texts": ["ONNX Runtime runs on edge boxes.", "Bread rises by yeast."]}
_VECTORS = list[list[float]] | DetailedVectors

ENDPOINTS = (
    Endpoint("POST", "/embed", EmbedRequest, embed, DIALECT, "Vectors of texts or token ids", _VECTORS, _EXAMPLE),
    # Where huggingface_hub's client sends to when it is given a server's address.
    Endpoint("POST", "/", EmbedRequest, embed, DIALECT, "The same as /embed", _VECTORS, _EXAMPLE),
    Endpoint("POST", "/rerank", RerankRequest, rerank, DIALECT, "Texts by how well they answer", list[Rank], _PAIRS),
    Endpoint(
        "POST", "/tokenize", TokenizeRequest, tokenize, DIALECT, "The tokens of texts", list[list[SimpleToken]],
        {"inputs": "Bread rises by yeast."},
    ),
    Endpoint("GET", "/info", None, info, DIALECT, "What is served, and within which limits", Info),
    Endpoint("GET", "/health", None, health, DIALECT, "Whether it takes requests", open=True),
)  # fmt: skip
