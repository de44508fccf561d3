"""HTTP/1.1 by uvicorn and h11, for clients that are slow, broken or hostile.

uvicorn limits only how long an idle connection stays open. Here each phase of a connection has a limit: its headers,
what is left of a body after the request was refused, and an answer that the client does not read. Requests that never
reach the application are refused in the dialect of their route where their first line says which.
"""

import asyncio
import logging
import re
from typing import Any, Literal

import h11
from starlette.applications import Starlette
from uvicorn.config import Config
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.server import ServerState

from embedge.requests import Refused
from embedge.server.app import dialect_of
from embedge.server.bodies import refusal
from embedge.server.middleware import HEADERS
from embedge.server.service import Service
from embedge.server.settings import Settings

_LOG = logging.getLogger("embedge.requests")

MAX_HEADER_BYTES = 65_536

_TARGET = re.compile(rb"[A-Z]+ (/[!->@-~]*)")  # without a query
_Phase = Literal["headers", "unread body", "refused", "other"]


class Protocol(H11Protocol):
    """One connection."""

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        """As uvicorn calls it, with the application of :func:`embedge.server.create_app`."""
        super().__init__(config, server_state, app_state, _loop)
        assert isinstance(config.app, Starlette)
        self._service: Service = config.app.state.service
        self._phase: _Phase = "other"
        self._timer: asyncio.TimerHandle | None = None
        self._unread = 0
        self._answers = 0

    @property
    def _settings(self) -> Settings:
        return self._service.settings

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """A client has connected."""
        super().connection_made(transport)
        self._enter("headers")

    def connection_lost(self, exc: Exception | None) -> None:
        """It is gone."""
        super().connection_lost(exc)
        self._unset_keepalive_if_required()
        self._enter("other")

    def data_received(self, data: bytes) -> None:
        """It has sent something."""
        if self._phase != "refused":
            super().data_received(data)
            self._follow()
        if self._phase in ("refused", "unread body"):
            self._unread += len(data)
            if self._unread > self._settings.max_body_bytes:
                self.transport.abort()

    def eof_received(self) -> None:
        """It sends no more. Without an answer to wait for, it has gone; half a request is refused."""
        in_body = self.conn.their_state is h11.SEND_BODY and self.conn.our_state is h11.SEND_RESPONSE
        if in_body or (self._phase == "headers" and self.conn.trailing_data[0]):
            self._refuse(Refused("invalid", "the request ended before it was complete"), 400)

    def on_response_complete(self) -> None:
        """An answer was written, as far as the client takes it."""
        super().on_response_complete()
        refused_early = self.conn.their_state is h11.SEND_BODY and self.conn.our_state is h11.DONE
        if refused_early and dict(self.headers).get(b"expect"):
            self.transport.close()  # the client may send the body or not: where its next request begins is unknown
        self._answers += 1
        if left := self.transport.get_write_buffer_size():
            self._watch_reading(left, left / 10)
        if self.conn.their_state is not h11.IDLE or self.conn.trailing_data[0]:
            self._follow()

    def send_400_response(self, msg: str) -> None:
        """Refuse what is no request."""
        received, _ = self.conn.trailing_data
        if len(received) > MAX_HEADER_BYTES:
            self._refuse(Refused("too_large", f"the headers are longer than {MAX_HEADER_BYTES} bytes"), 431)
        else:
            self._refuse(Refused("invalid", "this is not an HTTP request"), 400)

    def end(self) -> None:
        """Close the connection, and give a request up that is under way, as if its client had gone away."""
        if self.cycle and not self.cycle.response_complete:
            self.transport.abort()
        else:
            self.transport.close()

    def _unsupported_upgrade_warning(self) -> None:
        """Nothing to warn of: the request is answered as one that asks for no upgrade."""

    def _follow(self) -> None:
        """Enter the phase that h11 is in by now."""
        if self._phase == "refused":
            return
        if self.conn.their_state is h11.IDLE:
            self._enter("headers")
        elif self.conn.their_state is h11.SEND_BODY and self.conn.our_state is h11.DONE:
            self._enter("unread body")
        else:
            self._enter("other")

    def _enter(self, phase: _Phase) -> None:
        if phase == self._phase:
            return
        self._phase = phase
        self._unread = 0
        if self._timer:
            self._timer.cancel()
            self._timer = None
        if phase == "headers":
            self._timer = self.loop.call_later(self._settings.header_timeout_s, self._end_headers)
        elif phase in ("unread body", "refused"):
            self._timer = self.loop.call_later(self._settings.body_timeout_s, self.transport.abort)

    def _end_headers(self) -> None:
        if self.conn.trailing_data[0]:
            limit = self._settings.header_timeout_s
            self._refuse(Refused("timeout", f"the headers did not come within {limit:g} s"), 408)
        else:
            self.transport.close()

    def _watch_reading(self, left: int, step: float) -> None:
        self.loop.call_later(self._settings.write_timeout_s, self._check_read, left, step, self._answers)

    def _check_read(self, before: int, step: float, answer: int) -> None:
        left = self.transport.get_write_buffer_size()
        if (
            not left or answer != self._answers
        ):  # a later one is written only when this one was read, and has its own check
            return
        if left > before - step:
            self.transport.abort()
        else:
            self._watch_reading(left, step)

    def _refuse(self, refused: Refused, status: int) -> None:
        """Answer in place of the application, and close once the client has had time to read it."""
        if self.transport.is_closing():
            return
        if self.conn.our_state not in (h11.IDLE, h11.SEND_RESPONSE):
            self.transport.close()  # an answer is on its way
            return
        target = _TARGET.match(self.conn.trailing_data[0])
        path = target[1].decode() if target else "/"
        if self.cycle and not self.cycle.response_complete:
            path = self.scope["path"]
            self.cycle.disconnected = True
            self.cycle.message_event.set()  # so that the application gives up
        response = refusal(refused, dialect_of(path))
        response.headers.update({**HEADERS, "connection": "close"})
        self.transport.write(
            self.conn.send(h11.Response(status_code=status, headers=response.raw_headers))
            + self.conn.send(h11.Data(data=bytes(response.body)))
            + self.conn.send(h11.EndOfMessage())
        )
        # Closing at once, with bytes of the client's unread, would reset the connection and may lose the answer.
        self.transport.write_eof()
        self._enter("refused")
        self._service.metrics.requests.labels("other", str(status)).inc()
        _LOG.info("refused", extra={"fields": {"status": status, "reason": refused.message}})
