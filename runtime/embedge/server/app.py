"""The ASGI application: routes of all dialects, and what every request goes through."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any, TypeVar

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from embedge.errors import EmbedgeError
from embedge.loaded import LoadedModel
from embedge.server import monitoring, openai, page
from embedge.server.bodies import if_changed, read_json, refusal
from embedge.server.dialect import Dialect, Endpoint, Refused
from embedge.server.service import Service
from embedge.server.settings import Settings

_LOG = logging.getLogger("embedge.server")

ENDPOINTS: tuple[Endpoint, ...] = (*openai.ENDPOINTS, *monitoring.ENDPOINTS, *page.ENDPOINTS)
_Value = TypeVar("_Value")


def create_app(models: LoadedModel | Sequence[LoadedModel], settings: Settings | None = None) -> Starlette:
    """An ASGI application that serves ``models``: embedders and rerankers. Closing them stays with the caller.

    Raises:
        ValueError: no model, or two with one name.
    """
    service = Service([models] if isinstance(models, LoadedModel) else list(models), settings or Settings())

    @asynccontextmanager
    async def lifespan(app: Starlette) -> Any:
        yield
        service.queue.close()

    app = Starlette(
        routes=[
            Route(endpoint.path, _answerer(service, endpoint), methods=[endpoint.method])
            for endpoint in ENDPOINTS
            if service.settings.page or endpoint not in page.ENDPOINTS
        ],
        exception_handlers={HTTPException: _refuse_route},
        lifespan=lifespan,
    )
    app.state.service = service
    return app


def _answerer(service: Service, endpoint: Endpoint) -> Callable[[Request], Awaitable[Response]]:
    async def answer(request: Request) -> Response:
        try:
            if endpoint.body is None:
                return if_changed(request, await endpoint.answer(service, request.path_params))
            with service.admitted():
                body = await read_json(request, endpoint.body, endpoint.dialect, service.settings)
                return await _while_connected(request, endpoint.answer(service, body))
        except Refused as exc:
            return refusal(exc, endpoint.dialect)
        except ClientDisconnect:
            return Response(status_code=499)  # nobody reads it; nginx's number, for the metrics
        except Exception as exc:
            _LOG.exception("%s failed", endpoint.path)
            reason = str(exc) if isinstance(exc, EmbedgeError) else "an internal error; the server's log has more"
            return refusal(Refused("failed", reason), endpoint.dialect)

    return answer


async def _while_connected(request: Request, work: Awaitable[_Value]) -> _Value:
    """What ``work`` gives; it is cancelled when the client goes away, so that its place in the queue is free.

    Raises:
        ClientDisconnect: the client went away.
    """

    async def watch() -> None:
        while (await request.receive())["type"] != "http.disconnect":
            pass

    working = asyncio.ensure_future(work)
    watching = asyncio.ensure_future(watch())
    try:
        await asyncio.wait({working, watching}, return_when=asyncio.FIRST_COMPLETED)
        if working.done():
            return working.result()
        raise ClientDisconnect
    finally:
        working.cancel()
        watching.cancel()


async def _refuse_route(request: Request, exc: Exception) -> Response:
    assert isinstance(exc, HTTPException)
    if exc.status_code == 405:
        refused = Refused("wrong_method", f"{request.url.path} does not take {request.method}")
    else:
        refused = Refused("unknown_route", f"there is no {request.url.path} here; see /docs")
    response = refusal(refused, _dialect_of(request.url.path))
    response.headers.update(exc.headers or {})
    return response


def _dialect_of(path: str) -> Dialect:
    """The dialect of the routes that begin as ``path`` does."""
    start = "/".join(path.split("/")[:2]) + "/"
    return next((endpoint.dialect for endpoint in ENDPOINTS if endpoint.path.startswith(start)), openai.DIALECT)
