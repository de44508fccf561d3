"""The ASGI application: routes of all dialects, and what every request goes through."""

import asyncio
import itertools
import logging
from collections.abc import Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any, TypeVar

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from embedge.errors import EmbedgeError
from embedge.loaded import LoadedModel
from embedge.requests import Refused
from embedge.server import openai, openapi, page, reference
from embedge.server.auth import Keys
from embedge.server.bodies import if_changed, read_json, refusal
from embedge.server.dialect import Dialect, Endpoint
from embedge.server.middleware import RequestMiddleware
from embedge.server.service import Service
from embedge.server.settings import Settings

_LOG = logging.getLogger("embedge.server")

_PAGES = (*page.ENDPOINTS, *reference.ENDPOINTS)
ENDPOINTS: tuple[Endpoint, ...] = (*itertools.chain(*openapi.GROUPS.values()), *_PAGES)
_Value = TypeVar("_Value")


def create_app(
    models: LoadedModel | Sequence[LoadedModel], settings: Settings | None = None, *, keys: Keys | None = None
) -> Starlette:
    """An ASGI application that serves ``models``: embedders and rerankers. Closing them stays with the caller.

    Without ``keys`` everybody gets in.

    Raises:
        ValueError: no model, or two with one name.
    """
    keys = Keys() if keys is None else keys
    service = Service([models] if isinstance(models, LoadedModel) else list(models), settings or Settings())

    @asynccontextmanager
    async def lifespan(app: Starlette) -> Any:
        yield
        service.close()

    app = Starlette(
        routes=[
            Route(endpoint.path, _answerer(service, endpoint, keys), methods=[endpoint.method])
            for endpoint in ENDPOINTS
            if service.settings.page or endpoint not in _PAGES
        ],
        exception_handlers={HTTPException: _refuse_route},
        middleware=[Middleware(RequestMiddleware, service=service), *_cors(service.settings)],
        lifespan=lifespan,
    )
    app.router.redirect_slashes = False  # to an address made of what the client calls this host
    app.state.service = service
    return app


def _cors(settings: Settings) -> list[Middleware]:
    if not settings.cors_origins:
        return []
    return [
        Middleware(
            CORSMiddleware,
            allow_origins=settings.cors_origins,
            allow_methods=["GET", "POST"],
            allow_headers=["*"],
            expose_headers=["*"],
        )
    ]


def _answerer(service: Service, endpoint: Endpoint, keys: Keys) -> Callable[[Request], Awaitable[Response]]:
    is_open = endpoint.open or (endpoint.open_with_metrics and service.settings.open_metrics)

    async def answer(request: Request) -> Response:
        request.scope["embedge.route"] = endpoint.path
        try:
            if not is_open and not keys.admit(request.headers.get("authorization")):
                raise Refused("unauthorized", "send a key of this server's: Authorization: Bearer <key>")
            if endpoint.body is None:
                return if_changed(request, await endpoint.answer(service, request.path_params))
            with service.holding() as hold:
                body = await read_json(request, endpoint.body, endpoint.dialect, service.settings, hold)
                with service.admitted():  # a client that sends slowly takes no place
                    return await _while_connected(request, endpoint.answer(service, body))
        except Refused as exc:
            return refusal(exc, endpoint.dialect)
        except ClientDisconnect:
            return Response(status_code=499)  # nobody reads it; nginx's number, for the metrics
        except Exception as exc:  # nobody above can answer in the dialect
            fields = {"id": request.scope.get("embedge.id")}
            _LOG.exception("%s failed", endpoint.path, extra={"fields": fields})
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
    path = request.scope["path"]
    if exc.status_code == 405:
        refused = Refused("wrong_method", f"{path} does not take {request.method}")
    else:
        refused = Refused("unknown_route", f"there is no {path} here")
    response = refusal(refused, dialect_of(path))
    response.headers.update(exc.headers or {})
    return response


def dialect_of(path: str) -> Dialect:
    """The dialect of the route ``path``, else of the routes that begin as it does."""
    start = "/".join(path.split("/")[:2]) + "/"
    found = [endpoint for endpoint in ENDPOINTS if endpoint.path == path]
    found += [endpoint for endpoint in ENDPOINTS if endpoint.path.startswith(start)]
    return found[0].dialect if found else openai.DIALECT
