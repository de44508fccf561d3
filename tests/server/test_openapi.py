"""The description of the routes is complete, and what it says is so; its page needs no script and no other host."""

import html.parser
from typing import Any

import httpx
import msgspec
import pytest
from starlette.routing import Route

from embedge import Embedder
from embedge.server import Settings, create_app, openapi
from embedge.server.dialect import Endpoint
from tests.server.conftest import serving

ENDPOINTS = [endpoint for group in openapi.GROUPS.values() for endpoint in group]
# Pages and their files.
NOT_DESCRIBED = ("/openapi.json", "/docs", "/page")


class Page(html.parser.HTMLParser):
    """What a page links to, and what can be linked to."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.names: set[str] = set()
        self.links: set[str] = set()
        self.attributes: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}
        self.names |= {value for name, value in attrs if name == "id" and value}
        self.links |= {value for name, value in attrs if name in ("href", "src") and value}


@pytest.fixture
def page(client: httpx.Client) -> Page:
    return Page(client.get("/docs").text)


@pytest.fixture
def document(client: httpx.Client) -> dict[str, Any]:
    found: dict[str, Any] = client.get("/openapi.json").json()
    return found


def test_every_route_is_described(model: Embedder, document: dict[str, Any]) -> None:
    routes = {
        (route.path.replace(":path}", "}"), method)
        for route in create_app(model).routes
        if isinstance(route, Route) and not route.path.startswith(NOT_DESCRIBED)
        for method in (route.methods or set()) - {"HEAD"}
        if (route.path, method) != ("/", "GET")
    }
    described = {(path, method.upper()) for path, operations in document["paths"].items() for method in operations}
    assert described == routes


@pytest.mark.parametrize("endpoint", ENDPOINTS, ids=lambda endpoint: f"{endpoint.method} {endpoint.path}")
def test_the_example_of_every_route_gets_the_answer_that_is_described(
    several: httpx.Client, endpoint: Endpoint
) -> None:
    path = endpoint.path.replace("{name:path}", "prompted")
    if endpoint.body is None:
        answer = several.get(path)
    else:
        model = "trained" if "rerank" in path else "all-MiniLM-L6-v2"
        assert endpoint.example
        answer = several.post(path, json={**endpoint.example, "model": model})
    assert answer.status_code == 200, answer.text
    if endpoint.body is not None:
        assert openapi.HEADERS.keys() <= answer.headers.keys()
    if endpoint.result is not None:
        # Types leave out what they don't know, so equal means that nothing is missing and nothing is undescribed.
        known = msgspec.convert(answer.json(), endpoint.result)
        assert msgspec.to_builtins(known) == answer.json()


def test_every_type_that_is_named_is_there(document: dict[str, Any]) -> None:
    text = msgspec.json.encode(document).decode()
    named = {part.partition('"')[0] for part in text.split("#/components/schemas/")[1:]}
    assert named == document["components"]["schemas"].keys()


def test_routes_without_a_key_are_named(document: dict[str, Any]) -> None:
    free = {path for path, one in document["paths"].items() for how in one.values() if how.get("security") == []}
    assert free == {"/health", "/health/live", "/health/ready"}


def test_every_link_of_the_page_leads_somewhere(client: httpx.Client, page: Page) -> None:
    assert len(page.links) > 30
    for link in page.links:
        if link.startswith("#"):
            assert link[1:] in page.names
        else:
            assert client.get(f"/{link}").status_code == 200


def test_the_page_has_no_script_no_style_of_its_own_and_no_other_host(client: httpx.Client, page: Page) -> None:
    assert not page.tags & {"script", "style", "img", "iframe", "form"}
    assert not {name for name in page.attributes if name == "style" or name.startswith("on")}
    assert not [link for link in page.links if "//" in link]
    policy = client.get("/docs").headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert "//" not in client.get("/docs/reference.css").text


def test_the_page_has_every_route_and_every_field(page: Page, client: httpx.Client, document: dict[str, Any]) -> None:
    text = client.get("/docs").text
    for path, operations in document["paths"].items():
        for method in operations:
            assert f"<h3><code>{method.upper()} {path}</code></h3>" in text
    for name, schema in document["components"]["schemas"].items():
        assert f"type-{name}" in page.names
        for field in schema["properties"]:
            assert f"<code>{field}</code>" in text


def test_a_server_without_pages_has_none(model: Embedder) -> None:
    with serving(model, settings=Settings(page=False)) as address:
        assert httpx.get(f"{address}/docs").status_code == 404
        assert httpx.get(f"{address}/v1/models").status_code == 200
