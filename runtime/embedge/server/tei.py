"""Text Embeddings Inference: ``/embed``, ``/rerank``, ``/tokenize``, ``/info`` and ``/health``, with its error bodies.

Requests name no model there. So ``model`` is one more field of each body, for servers of several models.
"""

import functools
import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np
from starlette.responses import Response

from embedge import __version__
from embedge.loaded import LoadedModel
from embedge.pieces import Side
from embedge.requests import STATUSES, Kind, Refused, find_prompt
from embedge.server.bodies import json_response
from embedge.server.dialect import Dialect, Endpoint
from embedge.server.models import Served
from embedge.server.scores import as_logits, as_relevance
from embedge.server.service import Service
from embedge.server.tei_bodies import (
    DetailedVectors,
    Direction,
    EmbedRequest,
    Info,
    ModelInfo,
    Rank,
    RerankRequest,
    SimpleToken,
    TEIError,
    TokenizeRequest,
)
from embedge.tokenizer import Token

_TYPES: dict[Kind, str] = {
    "empty": "Empty",
    "overloaded": "Overloaded",
    "failed": "Backend",
    "unknown_model": "Backend",
}
_DTYPES = {"fp32": "float32", "fp16": "float16"}


def _error(refused: Refused) -> TEIError:
    return {"error": refused.message, "error_type": _TYPES.get(refused.kind, "Validation")}


# TEI answers 424 where the model that it serves is of the wrong kind, and 413 to what is too long.
_STATUSES: dict[Kind, int] = {**STATUSES, "invalid": 422, "too_long": 413, "unknown_model": 424, "failed": 424}
DIALECT = Dialect(_STATUSES, _error, TEIError)


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
    default = served.model.manifest.default_prompt
    if body.prompt_name is not None or default is not None:
        embedder = service.models.embedder(served.name).model
        prompt = find_prompt(embedder, body.prompt_name, default=default, field="prompt_name")
        texts = [prompt + text for text in texts]
    async with service.tokens(served, texts, field="inputs", special=body.add_special_tokens) as found:
        work = functools.partial(_locate, texts, found.tokens)
        located = await service.threads.run(sum(map(len, found.tokens)), work)
        return json_response(located, headers=found.headers)


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
        "kernels": model.kernels,
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
