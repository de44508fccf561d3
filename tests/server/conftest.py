"""A real server on loopback, in a thread of the tests' process, and a client for it."""

import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import TYPE_CHECKING, TypeAlias

import httpx
import pytest
import uvicorn

from embedge import Embedder
from embedge.loaded import LoadedModel
from embedge.server import Settings, create_app

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

Serve: TypeAlias = "Callable[..., AbstractContextManager[str]]"


@contextmanager
def serving(*models: LoadedModel, settings: Settings | None = None) -> Iterator[str]:
    """The URL of a server of ``models`` while it runs."""
    config = uvicorn.Config(create_app(models, settings), host="127.0.0.1", port=0, log_level="warning")
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


@pytest.fixture(scope="module")
def browser() -> Iterator["Browser"]:
    """A headless Chromium. Not for the whole session: while it is there, this thread can't run another event loop."""
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    program = shutil.which("chromium") or shutil.which("google-chrome")
    if program is None:
        pytest.skip("there is no chromium on this machine")
    sync_api.expect.set_options(timeout=30_000)  # of milliseconds, on a busy machine
    with sync_api.sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=program)
        yield chromium
        chromium.close()


@pytest.fixture
def page(browser: "Browser", url: str) -> Iterator["Page"]:
    """A tab that shows the server's page, which has to be without faults and to ask no other host."""
    with browser.new_page() as tab, watched(tab, url):
        tab.goto(url)
        yield tab


@contextmanager
def watched(tab: "Page", url: str) -> Iterator[None]:
    """Fails where ``tab`` logs errors or warnings, or asks for anything but from ``url``."""
    faults: list[str] = []
    tab.on("console", lambda said: faults.append(said.text) if said.type in ("error", "warning") else None)
    tab.on("pageerror", lambda error: faults.append(str(error)))
    tab.on("request", lambda request: None if request.url.startswith(url) else faults.append(request.url))
    yield
    assert faults == []
