"""A real server on loopback, in a thread of the tests' process, and a client for it."""

import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import httpx
import pytest
import uvicorn

from embedge import Embedder, Reranker
from embedge.loaded import LoadedModel
from embedge.server import Settings, create_app, process
from embedge_export import export
from tests.cases import kept_bundle, write_checkpoint
from tests.damage import reseal
from tests.layouts import write_reranker, write_trained_reranker

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

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
def reranker(minilm: Path, kept: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Reranker]:
    """MiniLM's encoder with a random head, whose scores are logits."""
    source = write_trained_reranker(minilm, tmp_path_factory.mktemp("reranker") / "trained")
    with Reranker.load(kept_bundle(kept, "reranker", source, ["fp32"])) as found:
        yield found


@pytest.fixture(scope="session")
def squashed(minilm: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Reranker]:
    """A tiny reranker of 64 tokens, whose scores have gone through a sigmoid."""
    place = tmp_path_factory.mktemp("squashed")
    source = write_reranker(write_checkpoint(place / "tiny", minilm, None))
    export(source, place / "squashed", precision=["fp32"], max_tokens=64)
    with Reranker.load(place / "squashed") as found:
        yield found


@pytest.fixture(scope="session")
def prompted(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Embedder]:
    """A tiny embedder of 32 tokens, with prompts and a default one, whose vectors keep their own length."""
    bundle = Path(shutil.copytree(tiny, tmp_path_factory.mktemp("prompted") / "prompted"))
    prompts = {"query": "new: ", "passage": "a passage: "}
    change = {"prompts": prompts, "default_prompt": "passage", "max_tokens": 32, "normalized": False}
    reseal(bundle, lambda fields: fields.update(change))
    with Embedder.load(bundle, variant="fp32") as found:
        yield found


@pytest.fixture(scope="session")
def several(model: Embedder, prompted: Embedder, reranker: Reranker, squashed: Reranker) -> Iterator[httpx.Client]:
    """A client of a server of MiniLM, ``prompted``, and two rerankers, ``trained`` and ``squashed``."""
    with serving(model, prompted, reranker, squashed) as address, httpx.Client(base_url=address, timeout=30) as found:
        yield found


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
