"""What is said of each request: in the log, in the metrics and in the headers of its answer."""

import asyncio
import logging
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route

from embedge import Embedder
from embedge.server import Settings, create_app, logs
from tests.cli.running import EMBEDGE
from tests.server.running import Serving, serve

GOOD = b'{"input": ["a text that is secret", "another one"]}'


@pytest.fixture(scope="module")
def server(tiny: Path) -> Iterator[Serving]:
    with serve(tiny) as found:
        yield found


def line(server: Serving, request_id: str) -> dict[str, object]:
    """What the log says of a request that was answered."""
    server.ask("GET", "/health/live", x_request_id=f"after-{request_id}")
    server.wait(lambda event: event.get("id") == f"after-{request_id}")
    (found,) = [event for event in server.log if event.get("id") == request_id]
    return found


def test_a_request_is_one_line(server: Serving) -> None:
    assert server.ask("POST", "/v1/embeddings", GOOD, x_request_id="one-line").headers["x-request-id"] == "one-line"
    event = line(server, "one-line")
    assert re.fullmatch(r"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d\.\d\d\dZ", str(event.pop("time")))
    assert isinstance(event.pop("ms"), float)
    tokens = event.pop("tokens")
    assert isinstance(tokens, int)
    assert tokens > 2
    assert event == {
        "level": "info",
        "logger": "embedge.requests",
        "message": "request",
        "id": "one-line",
        "method": "POST",
        "route": "/v1/embeddings",
        "status": 200,
        "texts": 2,
        "model": "tiny",
    }


@pytest.mark.parametrize(
    ("method", "path", "route", "status"),
    [
        ("GET", "/v1/models/secret", "/v1/models/{name:path}", 404),
        ("GET", "/secret?secret", "other", 404),
        ("SECRET", "/v1/embeddings", "other", 405),
        ("POST", "/v1/embeddings", "/v1/embeddings", 400),
    ],
)
def test_what_clients_make_up_is_in_no_log(server: Serving, method: str, path: str, route: str, status: int) -> None:
    request_id = f"{method}-{route}".replace("{", "").replace("}", "").replace("SECRET", "made-up")
    body = b'{"input": "secret", "dimensions": "secret"}'
    answer = server.ask(method, path, body, x_request_id=request_id, user_agent="secret", authorization="Bearer secret")
    assert answer.status == status
    event = line(server, request_id)
    assert (event["route"], event["status"]) == (route, status)
    assert "secret" not in repr(server.log).lower()


@pytest.mark.parametrize("asked", ["", "a" * 129, "two words", 'quo"te', "caf\xe9", "a\tb"])
def test_an_id_that_is_not_sane_is_replaced(server: Serving, asked: str) -> None:
    client = server.connect()
    client.send(b"GET /health/live HTTP/1.1\r\nhost: test\r\nx-request-id: " + asked.encode("latin-1") + b"\r\n\r\n")
    assert re.fullmatch("[0-9a-f]{16}", client.answer().headers["x-request-id"])


def test_metrics_count_requests_by_route_and_status(server: Serving) -> None:
    for path in ("/nowhere/1", "/nowhere/2"):
        server.ask("GET", path)
    server.ask("POST", "/v1/embeddings", GOOD)
    metrics = server.ask("GET", "/metrics").body.decode()
    assert re.search(r'^embedge_requests_total\{route="/v1/embeddings",status="200"\} [1-9]', metrics, re.MULTILINE)
    assert re.search(r'^embedge_requests_total\{route="other",status="404"\} [1-9]', metrics, re.MULTILINE)
    assert re.search(r'^embedge_request_seconds_count\{route="/v1/embeddings"\} [1-9]', metrics, re.MULTILINE)
    assert "nowhere" not in metrics


def test_what_is_no_request_is_logged_and_counted(server: Serving) -> None:
    client = server.connect()
    client.send(b"secret\r\n\r\n")
    assert client.answer().status == 400
    assert server.event("refused")["status"] == 400
    assert 'embedge_requests_total{route="other",status="400"}' in server.ask("GET", "/metrics").body.decode()


@pytest.mark.parametrize("path", ["/health/live", "/v1/models", "/metrics", "/nothing"])
def test_every_answer_has_the_headers_of_security(server: Serving, path: str) -> None:
    headers = server.ask("GET", path).headers
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "no-referrer"
    assert "server" not in headers
    assert "access-control-allow-origin" not in headers


def ask(app: Starlette, method: str, path: str, body: bytes = b"") -> httpx.Response:
    """Without a socket."""

    async def send() -> httpx.Response:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as client:
            return await client.request(method, path, content=body, headers={"content-type": "application/json"})

    return asyncio.run(send())


def test_pages_have_a_strict_policy(model: Embedder) -> None:
    async def page(_: Request) -> Response:
        return HTMLResponse("<p>")

    app = create_app(model)
    app.router.routes.append(Route("/a-page", page))
    policy = ask(app, "GET", "/a-page").headers["content-security-policy"].split("; ")
    assert {"default-src 'none'", "script-src 'self'", "frame-ancestors 'none'"} <= set(policy)
    assert "unsafe" not in repr(policy)
    assert "content-security-policy" not in ask(app, "GET", "/health/live").headers


def test_pages_of_other_origins_are_kept_out(server: Serving) -> None:
    answer = server.ask(
        "OPTIONS", "/v1/embeddings", origin="https://other.example", access_control_request_method="POST"
    )
    assert answer.status == 405
    assert "access-control-allow-origin" not in answer.headers


def test_pages_of_an_origin_that_is_named_are_let_in(tiny: Path) -> None:
    origins = ["--cors-origin", "https://a.example", "--cors-origin", "http://localhost:3000"]
    with serve(tiny, *origins, environment={"EMBEDGE_API_KEYS": "a-key"}) as server:
        for origin in ("https://a.example", "http://localhost:3000"):
            asked = "authorization,content-type,x-stainless-os"
            preflight = server.ask(
                "OPTIONS",
                "/v1/embeddings",
                origin=origin,
                access_control_request_method="POST",
                access_control_request_headers=asked,
            )
            assert preflight.status == 200
            assert preflight.headers["access-control-allow-origin"] == origin
            assert preflight.headers["access-control-allow-headers"] == asked
            answer = server.ask("POST", "/v1/embeddings", GOOD, origin=origin, authorization="Bearer a-key")
            assert answer.headers["access-control-allow-origin"] == origin
            assert server.ask("POST", "/v1/embeddings", GOOD, origin=origin).status == 401
        answer = server.ask("POST", "/v1/embeddings", GOOD, origin="https://b.example", authorization="Bearer a-key")
        assert "access-control-allow-origin" not in answer.headers


@pytest.mark.parametrize("origin", ["a.example", "https://a.example/", "https://*.example", "ftp://a.example"])
def test_an_origin_that_is_none_is_wrong_usage(origin: str) -> None:
    command = [*EMBEDGE, "serve", "--cors-origin", origin]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 2
    assert "without a path" in done.stderr


def test_a_console_shows_one_line_an_event(capsys: pytest.CaptureFixture[str]) -> None:
    record = logging.LogRecord("embedge.requests", logging.INFO, "", 0, "a\nb %s", ("c",), None)
    record.fields = {"status": 200}
    shown = logs._Console().format(record)
    assert re.fullmatch(r"20\S+Z info    a b c status=200", shown)


def test_a_failure_of_ours_is_logged_with_its_traceback_and_not_explained(
    model: Embedder, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    app = create_app(model, Settings())

    async def fail(*_: object, **__: object) -> None:
        raise RuntimeError("the reason")

    monkeypatch.setattr(app.state.service, "embed", fail)
    answer = ask(app, "POST", "/v1/embeddings", GOOD)
    assert answer.status_code == 500
    assert "the reason" not in answer.text
    (record,) = [record for record in caplog.records if record.exc_info]
    assert "the reason" in logs._Json().format(record)
