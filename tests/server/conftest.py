"""A real server on loopback, in a thread of the tests' process, and a client for it."""

import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import TypeAlias

import httpx
import pytest
import uvicorn

from embedge import Embedder
from embedge.loaded import LoadedModel
from embedge.server import Settings, create_app, process

Serve: TypeAlias = "Callable[..., AbstractContextManager[str]]"


@contextmanager
def serving(*models: LoadedModel, settings: Settings | None = None) -> Iterator[str]:
    """The URL of a server of ``models`` while it runs."""
    config = process.config_of(create_app(models, settings))
    config.port = 0
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        while not server.started:
            assert thread.is_alive()
            thread.join(0.01)
        port = server.servers[0].sockets[0].getsockname()[1]
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        thread.join()


@pytest.fixture(scope="session")
def url(model: Embedder) -> Iterator[str]:
    """A server of the trained MiniLM, with the default settings."""
    with serving(model) as address:
        yield address


@pytest.fixture
def client(url: str) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=url, timeout=30) as found:
        yield found
