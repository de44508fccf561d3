"""An application as a process: uvicorn's server with the signals of a service, and what it says when it starts."""

import asyncio
import contextlib
import logging
import os
import signal
import socket
import time
from collections.abc import Iterator
from types import FrameType

import uvicorn
from starlette.applications import Starlette

from embedge.server.auth import Keys
from embedge.server.protocol import MAX_HEADER_BYTES, Protocol
from embedge.server.service import Service
from embedge.server.sockets import Listeners

_LOG = logging.getLogger("embedge.server")


def serve(app: Starlette, listeners: Listeners, keys: Keys) -> None:
    """Serve ``app`` until SIGTERM or SIGINT, and then what is under way, within the grace time.

    A second signal ends the process at once. SIGHUP has the file of the keys read again; without one it ends as
    SIGTERM does. Closes ``listeners``.

    Raises:
        EmbedgeError: another program has taken the address since.
    """
    _allow_many_connections()
    listeners.listen()
    server = Server(app, listeners, keys)
    server.run(listeners.sockets)
    listeners.close()
    _LOG.info("stopped")
    if server.is_overdue:  # threads may still tokenize for requests that were given up, and can't be stopped
        os._exit(0)


def config_of(app: Starlette) -> uvicorn.Config:
    """How uvicorn serves ``app``: by our protocol, without websockets, log lines and a header of its own."""
    settings = app.state.service.settings
    return uvicorn.Config(
        app,
        http=Protocol,
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        timeout_keep_alive=settings.keep_alive_s,  # a fraction of a second will do as well
        h11_max_incomplete_event_size=MAX_HEADER_BYTES,
    )


class Server(uvicorn.Server):
    """Stops in the way of a service."""

    def __init__(self, app: Starlette, listeners: Listeners, keys: Keys) -> None:
        super().__init__(config_of(app))
        self._service: Service = app.state.service
        self._listeners = listeners
        self._keys = keys
        self.is_overdue = False
        """Whether requests were not finished within the grace time."""
        self._terminal = _has_terminal()
        hang_up = getattr(signal, "SIGHUP", None)  # Windows has none
        self._outlives_terminal = hang_up is not None and signal.getsignal(hang_up) is signal.SIG_IGN  # by nohup

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Handles signals; after it they do what they did before, and none is raised again."""
        handlers = {"SIGINT": self.handle_exit, "SIGTERM": self.handle_exit, "SIGHUP": self._hang_up}
        before: dict[int, signal._HANDLER] = {}
        for name, handler in handlers.items():
            number = getattr(signal, name, None)  # Windows has no SIGHUP
            # Ignored by nohup, and in the background jobs of a shell: it stays so, but keys are read again.
            if number and (signal.getsignal(number) is not signal.SIG_IGN or (name == "SIGHUP" and self._keys.file)):
                before[number] = signal.signal(number, handler)
        try:
            yield
        finally:
            for number, previous in before.items():
                signal.signal(number, previous)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Stop; at the second signal at once, whatever threads still do."""
        if self.should_exit:
            self._listeners.close()
            os._exit(128 + sig)
        self.should_exit = True

    def _hang_up(self, sig: int, frame: FrameType | None) -> None:
        if self._keys.file and (self._outlives_terminal or _has_terminal() == self._terminal):
            asyncio.get_running_loop().call_soon_threadsafe(self._keys.reload)
        else:  # nobody is there to read keys for, or the terminal was closed
            self.handle_exit(sig, frame)

    async def main_loop(self) -> None:
        """Say that it answers, and wait for a signal: uvicorn handles it as we want from here on."""
        _introduce(self._service, self._listeners, self._keys)
        await super().main_loop()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Take no more connections, finish what is under way, and close those that are left.

        Connections stay open meanwhile, so that whoever asks on one whether the server is ready learns that it stops.
        """
        grace = self._service.settings.grace_s
        self._service.stopping = True
        for server in self.servers:
            server.close()
        _LOG.info("stopping: requests under way have %g s", grace)
        until = time.monotonic() + grace
        while self.server_state.tasks and time.monotonic() < until:
            await asyncio.sleep(0.02)
        if self.server_state.tasks:
            self.is_overdue = True
            _LOG.warning("%d requests were not finished within %g s", len(self.server_state.tasks), grace)
        connections = [one for one in self.server_state.connections if isinstance(one, Protocol)]
        for connection in connections:
            connection.end()
        while self.server_state.connections and time.monotonic() < until:
            await asyncio.sleep(0.02)
        for connection in connections:
            connection.transport.abort()  # its client does not read
        await super().shutdown(sockets)


def _allow_many_connections() -> None:
    """Each needs a file; the limit that a shell sets is far below what the system grants."""
    with contextlib.suppress(ImportError, ValueError, OSError):
        import resource

        _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def _has_terminal() -> bool:
    try:
        os.close(os.open("/dev/tty", os.O_RDONLY | os.O_NOCTTY))
    except OSError:
        return False
    return True


def _introduce(service: Service, listeners: Listeners, keys: Keys) -> None:
    for served in service.models:
        fields: dict[str, str | int] = {"variant": served.model.variant, "fingerprint": served.fingerprint}
        if served.model.manifest.task == "embed":
            fields["dimensions"] = served.model.manifest.dimensions
        _LOG.info("serving %s", served.name, extra={"fields": fields})
    if not keys and not listeners.is_local:
        _LOG.warning("everybody who can reach this address gets in: set keys by --api-key-file or EMBEDGE_API_KEYS")
    _LOG.info("listening", extra={"fields": {"url": listeners.url}})
    if service.settings.page and not listeners.path:
        _LOG.info("page", extra={"fields": {"url": f"{listeners.url}/"}})
