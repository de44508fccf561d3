"""What every request goes through: an id, the time it takes, a line in the log, headers that every answer has."""

import logging
import re
import secrets
import time
from typing import Any

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from embedge.server.service import Service

_LOG = logging.getLogger("embedge.requests")

# An id that a log can hold as it is.
_SANE_ID = re.compile(r"[\w.:/+=@-]{1,128}", re.ASCII)
_METHODS = ("GET", "HEAD", "POST", "OPTIONS", "PUT", "PATCH", "DELETE")

HEADERS = {"x-content-type-options": "nosniff", "referrer-policy": "no-referrer"}
"""Of every answer."""

_POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' data:",
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    )
)


class RequestMiddleware:
    """See the module."""

    def __init__(self, app: ASGIApp, service: Service) -> None:
        self._app = app
        self._service = service

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Have the application answer, and note how it went."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began = time.perf_counter()
        sent = Headers(scope=scope)
        asked = sent.get("x-request-id", "")
        request_id = asked if _SANE_ID.fullmatch(asked) else secrets.token_hex(8)
        scope["embedge.id"] = request_id
        # A proxy may have gone by the other one: what it takes for the next request may be another's body.
        ambiguous = "content-length" in sent and "transfer-encoding" in sent
        answered: dict[str, Any] = {}

        async def complete(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                self._add_headers(headers, request_id)
                if ambiguous or self._service.stopping:
                    headers["connection"] = "close"
                answered.update(status=message["status"], headers=headers)
            await send(message)

        try:
            await self._app(scope, receive, complete)
        finally:
            self._note(scope, request_id, time.perf_counter() - began, **answered)

    def _add_headers(self, headers: MutableHeaders, request_id: str) -> None:
        headers.update(HEADERS)
        headers["x-request-id"] = request_id
        if headers.get("content-type", "").startswith("text/html"):
            headers["content-security-policy"] = _POLICY

    def _note(
        self, scope: Scope, request_id: str, seconds: float, status: int = 500, headers: Headers | None = None
    ) -> None:
        route = scope.get("embedge.route", "other")
        metrics = self._service.metrics
        metrics.requests.labels(route, str(status)).inc()
        metrics.request_time.labels(route).observe(seconds)
        fields: dict[str, Any] = {
            "id": request_id,
            "method": scope["method"] if scope["method"] in _METHODS else "other",
            "route": route,
            "status": status,
            "ms": round(1000 * seconds, 2),
        }
        for name in ("texts", "tokens", "model"):
            value = headers.get(f"x-embedge-{name}") if headers else None
            if value is not None:
                fields[name] = int(value) if value.isdecimal() else value
        _LOG.info("request", extra={"fields": fields})
