"""``GET /``: a page to look at and try what is served. Its files lie in ``static/``; no other host is asked.

The files hold nothing of this server's and need no key, since a browser has none before it has the page. What the page
shows comes by routes that do: ``/page/status.json``, ``/v1/embeddings`` and ``/metrics``.
"""

import functools
import hashlib
from importlib import resources
from typing import Any, NamedTuple

from starlette.responses import Response

from embedge import __version__
from embedge.engine.capabilities import capabilities
from embedge.engine.cpus import cpu_features, cpu_name
from embedge.engine.ort import onnxruntime
from embedge.loaded import LoadedModel
from embedge.requests import Refused
from embedge.server import openai
from embedge.server.bodies import json_response
from embedge.server.dialect import Endpoint
from embedge.server.models import Served
from embedge.server.service import Service

_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}


class _File(NamedTuple):
    content: bytes
    headers: dict[str, str]


@functools.cache
def _files() -> dict[str, _File]:
    """The files of the page by their names, read once."""
    found = {}
    for path in (resources.files("embedge.server") / "static").iterdir():
        content = path.read_bytes()
        headers = {
            "content-type": _TYPES[path.name[path.name.rindex(".") :]],
            "cache-control": "no-cache",  # kept, and asked for again by its etag: never that of another version
            "etag": f'"{hashlib.sha256(content).hexdigest()[:16]}"',
        }
        found[path.name] = _File(content, headers)
    return found


async def file(_: Service, path: dict[str, str]) -> Response:
    """``GET /`` and ``GET /page/{name}``: a file of the page."""
    name = path.get("name", "index.html")
    found = _files().get(name)
    if found is None:
        raise Refused("unknown_route", f"there is no /page/{name} here")
    return Response(found.content, headers=found.headers)


async def status(service: Service, _: object) -> Response:
    """``GET /page/status.json``: what is loaded, and what runs it."""
    content = {
        "version": __version__,
        "onnxruntime": onnxruntime.__version__,
        "cpu": {"name": cpu_name(), "features": cpu_features(), "exact_u8s8": capabilities().exact_u8s8},
        "models": [_describe(served) for served in service.models],
    }
    return json_response(content, headers={"cache-control": "no-store"})


def _describe(served: Served[LoadedModel]) -> dict[str, Any]:
    model, manifest = served.model, served.model.manifest
    return {
        "name": served.name,
        "source": manifest.source.id,
        "task": manifest.task,
        "variant": model.variant,
        "kernels": model.kernels,
        "integer": bool(manifest.variants[model.variant].codes),
        "fingerprint": served.fingerprint,
        "dimensions": manifest.dimensions,
        "max_tokens": model.max_tokens,
        "truncation_side": manifest.tokenizer.truncation_side,
        "similarity": manifest.similarity,
        "prompts": {name: manifest.prompt(name) for name in ("query", "document")},
        "providers": list(model.providers),
        "threads": model.threads,
    }


ENDPOINTS = (
    Endpoint("GET", "/", None, file, openai.DIALECT, "A page to try the models", open=True),
    Endpoint("GET", "/page/status.json", None, status, openai.DIALECT, "What the page shows", open_with_metrics=True),
    Endpoint("GET", "/page/{name}", None, file, openai.DIALECT, "A file of the page", open=True),
)
