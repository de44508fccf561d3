"""What the server takes and answers, as OpenAPI 3.1: made of the endpoints and their types, never written by hand."""

import functools
import re
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from embedge import __version__
from embedge.requests import Kind
from embedge.server import cohere, monitoring, ollama, openai, tei
from embedge.server.dialect import Endpoint

GROUPS: Mapping[str, Sequence[Endpoint]] = {
    "OpenAI": openai.ENDPOINTS,
    "Text Embeddings Inference": tei.ENDPOINTS,
    "Cohere and Jina": cohere.ENDPOINTS,
    "Ollama": ollama.ENDPOINTS,
    "Health and metrics": monitoring.ENDPOINTS,
}
"""What is described, by whose clients it is for."""

_REFUSALS: Mapping[Kind, str] = {
    "invalid": "A field is wrong, or can't be done.",
    "empty": "There is no text.",
    "too_long": "A text is too long, and is not to be cut.",
    "unauthorized": "A key is missing, or unknown.",
    "unknown_model": "There is no such model, or it is for another task.",
    "timeout": "The body did not come in time.",
    "too_large": "The body, the number of texts or of tokens is beyond a limit.",
    "wrong_type": "The body is not called JSON, or it is compressed.",
    "overloaded": "The server is full: come again after `retry-after`.",
    "failed": "The server failed.",
}
_OF_GETS: tuple[Kind, ...] = ("unauthorized", "failed")
_PARAMETER = re.compile(r"\{(\w+)(?::\w+)?\}")

HEADERS = {
    "x-embedge-model": ("The model's name, percent-encoded.", "string"),
    "x-embedge-fingerprint": ("Vectors may be compared where it is the same.", "string"),
    "x-embedge-texts": ("How many texts or pairs there were.", "integer"),
    "x-embedge-tokens": ("How many tokens they had, special ones included.", "integer"),
    "x-embedge-truncated": ("How many texts were cut to the model's limit.", "integer"),
}
"""Of every answer to a request with texts."""


@functools.cache
def document() -> dict[str, Any]:
    """The whole of it, as JSON has it."""
    endpoints = [endpoint for group in GROUPS.values() for endpoint in group]
    types = [endpoint.body for endpoint in endpoints] + [endpoint.result for endpoint in endpoints]
    types += [endpoint.dialect.error for endpoint in endpoints]
    known = [kind for kind in types if kind is not None]
    references, components = msgspec.json.schema_components(known, ref_template="#/components/schemas/{name}")
    # Not in a dictionary: a union is equal to another of the same types, but not all of them can be keys.
    schemas = list(zip(known, references, strict=True))
    paths: dict[str, dict[str, Any]] = {}
    for tag, group in GROUPS.items():
        for endpoint in group:
            operations = paths.setdefault(_PARAMETER.sub(r"{\1}", endpoint.path), {})
            operations[endpoint.method.lower()] = _operation(tag, endpoint, schemas)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "embedge",
            "version": __version__,
            "description": "Embeddings and reranking, as OpenAI's, TEI's, Cohere's and Ollama's clients expect them.",
        },
        "tags": [{"name": tag} for tag in GROUPS],
        # A server without keys takes requests without one.
        "security": [{"key": []}, {}],
        "paths": paths,
        "components": {"schemas": components, "securitySchemes": {"key": {"type": "http", "scheme": "bearer"}}},
    }


def _operation(tag: str, endpoint: Endpoint, schemas: list[tuple[Any, dict[str, Any]]]) -> dict[str, Any]:
    def content(kind: Any) -> dict[str, Any]:
        return {"application/json": {"schema": next(schema for known, schema in schemas if known is kind)}}

    good: dict[str, Any] = {"description": endpoint.summary}
    if endpoint.result is not None:
        good["content"] = content(endpoint.result)
    operation: dict[str, Any] = {"summary": endpoint.summary, "tags": [tag], "responses": {"200": good}}
    if endpoint.open:
        operation["security"] = []
    parameters = _PARAMETER.findall(endpoint.path)
    if parameters:
        operation["parameters"] = [
            {"name": name, "in": "path", "required": True, "schema": {"type": "string", "minLength": 1}}
            for name in parameters
        ]
    kinds = _OF_GETS if endpoint.body is None else tuple(_REFUSALS)
    if endpoint.body is not None:
        body = content(endpoint.body)
        body["application/json"]["example"] = endpoint.example
        operation["requestBody"] = {"required": True, "content": body}
        good["headers"] = {
            name: {"description": text, "schema": {"type": kind}} for name, (text, kind) in HEADERS.items()
        }
    elif parameters:
        kinds = (*_OF_GETS, "unknown_model")
    for kind in kinds:
        if kind == "unauthorized" and endpoint.open:
            continue
        status = str(endpoint.dialect.statuses[kind])
        refusal = operation["responses"].setdefault(
            status, {"description": "", "content": content(endpoint.dialect.error)}
        )
        refusal["description"] = f"{refusal['description']} {_REFUSALS[kind]}".strip()
        if kind == "overloaded":
            refusal["headers"] = {"retry-after": {"description": "In seconds.", "schema": {"type": "integer"}}}
    operation["responses"] = dict(sorted(operation["responses"].items()))
    return operation
