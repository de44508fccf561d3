"""The page of examples/browser, built, on a plain file server, in a real browser."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import pytest

from benchmarks.edge.static_site import ISOLATION, Site, build_page, hosting, install_packages
from benchmarks.speed.environments import Unavailable
from tests.server.conftest import browser as browser  # the fixture

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext, Page

Build: TypeAlias = "Callable[[Path], Path]"


@pytest.fixture(scope="session")
def build(tmp_path_factory: pytest.TempPathFactory) -> Build:
    """``build(bundle)``: the directory of the page with that bundle."""
    try:
        install_packages()
    except Unavailable as exc:
        pytest.skip(str(exc))

    def build(bundle: Path) -> Path:
        out = tmp_path_factory.mktemp("site") / "dist"
        build_page(bundle, out)
        return out

    return build


@pytest.fixture(scope="session")
def tiny_page(build: Build, tiny: Path) -> Path:
    """The page with a bundle that loads at once, and has a query prompt."""
    return build(tiny)


@pytest.fixture(scope="session")
def minilm_page(build: Build, bundle: Path) -> Path:
    """The page with the trained MiniLM."""
    return build(bundle)


@pytest.fixture
def site(tiny_page: Path) -> Iterator[Site]:
    with hosting(tiny_page) as found:
        yield found


@contextmanager
def opened(
    context: "BrowserContext",
    url: str,
    path: str = "",
    *,
    faults: list[str] | None = None,
    elsewhere: list[str] | None = None,
) -> "Iterator[Page]":
    """A tab that shows ``path`` of a site at ``url``.

    Fails where any part of it, workers included, asks for anything but from ``url``, unless ``elsewhere`` takes that;
    and where it logs errors or warnings, unless ``faults`` takes them.
    """
    told: list[str] = [] if faults is None else faults
    asked: list[str] = [] if elsewhere is None else elsewhere
    context.on("request", lambda request: None if request.url.startswith(url) else asked.append(request.url))
    context.on("console", lambda said: told.append(said.text) if said.type in ("error", "warning") else None)
    context.on("weberror", lambda error: told.append(str(error.error)))
    with context.new_page() as page:
        page.goto(url + path)
        yield page
    assert elsewhere is not None or asked == []
    assert faults is not None or told == []


@contextmanager
def tab(browser: "Browser", place: Path) -> "Iterator[tuple[Page, list[str]]]":
    """A tab at the address of a built page, without the page itself, that may have threads; and what it warns of."""
    told: list[str] = []
    with (
        browser.new_context(service_workers="block") as context,
        hosting(place, ISOLATION) as site,
        opened(context, site.url, "icon.svg", faults=told) as page,
    ):
        yield page, told
