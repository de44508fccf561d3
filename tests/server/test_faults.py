"""Requests that are broken, hostile or slow: each gets an error as its route's clients know it, and the next works."""

import gzip
import select
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest

from embedge.requests import Kind, Refused
from embedge.server.app import ENDPOINTS
from embedge.server.dialect import Dialect, Endpoint
from embedge.server.protocol import MAX_HEADER_BYTES
from tests.server.running import Answer, Client, Serving, request, serve

MAX_BODY = 200_000
GOOD = b'{"input": "a text"}'

POSTS = [endpoint for endpoint in ENDPOINTS if endpoint.body]
each_route = pytest.mark.parametrize("endpoint", POSTS, ids=lambda endpoint: endpoint.path)


@pytest.fixture(scope="module")
def server(tiny: Path) -> Iterator[Serving]:
    with serve(tiny, "--max-body-bytes", MAX_BODY) as found:
        yield found
        assert not [event for event in found.log if "traceback" in event]


@pytest.fixture(scope="module")
def hasty(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    """A server that waits for nobody."""
    path = tmp_path_factory.mktemp("hasty") / "socket"
    limits = ["--header-timeout", 0.3, "--body-timeout", 0.3, "--write-timeout", 0.3]
    with serve(tiny, "--uds", path, "--max-body-bytes", MAX_BODY, *limits) as found:
        yield found
        assert not [event for event in found.log if "traceback" in event]


def works(client: Client) -> bool:
    return client.ask("POST", "/v1/embeddings", GOOD).status == 200


def is_refusal(answer: Answer, dialect: Dialect) -> bool:
    """Whether it is a client's error, in the form of the dialect."""
    return 400 <= answer.status < 500 and answer.json.keys() == dialect.body(Refused("invalid", "")).keys()


def every_field(endpoint: Endpoint, value: bytes) -> bytes:
    """A body with ``value`` in each field that the route knows."""
    assert endpoint.body
    fields = msgspec.structs.fields(endpoint.body)
    return b"{" + b",".join(b'"%s":%s' % (field.encode_name.encode(), value) for field in fields) + b"}"


BROKEN: dict[str, Callable[[Endpoint], bytes]] = {
    "no body": lambda _: b"",
    "no JSON": lambda _: b"input=a+text",
    "half of it": lambda _: b'{"input": "a te',
    "more than it": lambda _: b'{"input": "a text"} {}',
    "not an object": lambda _: b'["a text"]',
    "not UTF-8": lambda endpoint: every_field(endpoint, b'"\xff"'),
    "another encoding": lambda _: '{"input": "a text"}'.encode("utf-16"),
    "half a character": lambda endpoint: every_field(endpoint, rb'"\ud800"'),
    "deep nesting": lambda endpoint: every_field(endpoint, b"[" * 5000 + b"]" * 5000),
    "deep nesting of nothing known": lambda _: b'{"nothing":' + b'{"a":' * 20_000 + b"1" + b"}" * 20_001,
    "NaN": lambda endpoint: every_field(endpoint, b"NaN"),
    "a huge number": lambda endpoint: every_field(endpoint, b"9" * 5000),
    "a huge exponent": lambda endpoint: every_field(endpoint, b"1e999999999"),
    "no texts": lambda endpoint: every_field(endpoint, b"[]"),
    "null": lambda endpoint: every_field(endpoint, b"null"),
}


@each_route
@pytest.mark.parametrize("fault", BROKEN)
def test_a_broken_body_is_refused_and_the_connection_goes_on(server: Serving, endpoint: Endpoint, fault: str) -> None:
    client = server.connect()
    answer = client.ask("POST", endpoint.path, BROKEN[fault](endpoint))
    assert is_refusal(answer, endpoint.dialect), answer
    assert works(client)


def refused(answer: Answer, endpoint: Endpoint, kind: Kind) -> bool:
    return is_refusal(answer, endpoint.dialect) and answer.status == endpoint.dialect.statuses[kind]


@each_route
def test_another_type_of_content_is_refused(server: Serving, endpoint: Endpoint) -> None:
    client = server.connect()
    assert refused(client.ask("POST", endpoint.path, GOOD, content_type="image/png"), endpoint, "wrong_type")
    assert works(client)


@each_route
def test_a_compressed_body_is_refused_unread(server: Serving, endpoint: Endpoint) -> None:
    bomb = gzip.compress(b" " * 10_000_000)
    client = server.connect()
    assert refused(client.ask("POST", endpoint.path, bomb, content_encoding="gzip"), endpoint, "wrong_type")
    assert works(client)


@each_route
def test_a_body_that_is_too_long_is_refused_before_it_comes(server: Serving, endpoint: Endpoint) -> None:
    client = server.connect()
    head, _, body = request("POST", endpoint.path, b" " * (MAX_BODY + 1)).partition(b"\r\n\r\n")
    client.send(head + b"\r\n\r\n")
    assert refused(client.answer(), endpoint, "too_large")
    client.send(body)  # as clients do that write all before they read
    assert works(client)


@each_route
def test_a_body_that_turns_out_too_long_is_refused(server: Serving, endpoint: Endpoint) -> None:
    client = server.connect()
    chunk = b"%x\r\n%s\r\n" % (50_000, b" " * 50_000)
    head = request("POST", endpoint.path).replace(b"content-length: 0", b"transfer-encoding: chunked")
    client.send(head + 5 * chunk)
    assert refused(client.answer(), endpoint, "too_large")
    client.send(b"0\r\n\r\n")
    assert works(client)


def test_a_body_without_end_is_cut_off(server: Serving) -> None:
    client = server.connect()
    client.send(request("POST", "/v1/embeddings").replace(b"content-length: 0", b"content-length: 9999999999"))
    assert client.answer().status == 413
    with pytest.raises(OSError, match=r"reset|pipe"):
        client.send(b" " * 100 * MAX_BODY)
    assert works(server.connect())


def test_a_client_that_asks_before_it_sends_a_long_body_need_not_send_it(server: Serving) -> None:
    client = server.connect()
    head, _, _ = request("POST", "/v1/embeddings", b" " * (MAX_BODY + 1), expect="100-continue").partition(b"\r\n\r\n")
    client.send(head + b"\r\n\r\n")
    assert client.answer().status == 413
    assert client.is_closed()


@each_route
def test_half_a_body_is_refused(server: Serving, endpoint: Endpoint) -> None:
    client = server.connect()
    client.send(request("POST", endpoint.path, GOOD)[:-5])
    client.socket.shutdown(socket.SHUT_WR)
    answer = client.answer()
    assert answer.status == 400
    assert is_refusal(answer, endpoint.dialect)
    assert client.is_closed()
    assert works(server.connect())


def test_a_client_that_goes_away_with_half_a_body_is_no_trouble(server: Serving) -> None:
    client = server.connect()
    client.send(request("POST", "/v1/embeddings", GOOD)[:-5])
    client.close()
    assert works(server.connect())


@each_route
def test_headers_that_are_too_long_are_refused(server: Serving, endpoint: Endpoint) -> None:
    client = server.connect()
    client.send(request("POST", endpoint.path, GOOD, x_long="a" * 1_000_000))
    answer = client.answer()
    assert answer.status == 431
    assert is_refusal(answer, endpoint.dialect)
    assert str(MAX_HEADER_BYTES) in str(answer.json)
    assert client.is_closed()
    assert works(server.connect())


def test_a_refused_client_may_send_on_while_it_reads_why(server: Serving) -> None:
    """A reset connection would lose the answer on some systems."""
    client = server.connect()
    client.send(b"GET / HTTP/1.1\r\nx-long: " + b"a" * 100_000)
    assert client.answer().status == 431
    for _ in range(10):
        client.send(b"a" * 1000)
        time.sleep(0.02)
    assert client.is_closed()


@pytest.mark.parametrize(
    "data",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
        b"GET\r\n\r\n",
        b"GET / HTTP/1.1\r\n\r\n",
        b"GET /\xff HTTP/1.1\r\nhost: test\r\n\r\n",
        b"GET / HTTP/1.1\r\nhost: test\r\nno colon\r\n\r\n",
        b"POST /v1/embeddings HTTP/1.1\r\nhost: test\r\ncontent-length: many\r\n\r\n",
        b"POST /v1/embeddings HTTP/1.1\r\nhost: test\r\ncontent-length: -1\r\n\r\n",
        b"POST /v1/embeddings HTTP/1.1\r\nhost: test\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n",
    ],
    ids=["TLS", "no path", "no host", "no ASCII", "no colon", "no length", "below 0", "two lengths"],
)
def test_what_is_not_http_is_refused(server: Serving, data: bytes) -> None:
    client = server.connect()
    client.send(data)
    assert client.answer().status == 400
    assert client.is_closed()
    assert works(server.connect())


def test_chunks_that_are_none_are_refused(server: Serving) -> None:
    client = server.connect()
    head = request("POST", "/v1/embeddings", content_length="0").replace(
        b"content-length: 0", b"transfer-encoding: chunked"
    )
    client.send(head + b"5\r\n{    \r\n" + b"many\r\n")
    assert client.answer().status == 400
    assert client.is_closed()
    assert works(server.connect())


def test_a_query_does_not_hide_whose_route_it_is(server: Serving) -> None:
    client = server.connect()
    client.send(b"POST /embed?a=b HTTP/1.1\r\nx-long: " + b"a" * 100_000)
    assert client.answer().json.keys() == {"error", "error_type"}


def test_what_follows_a_body_of_two_lengths_is_not_taken_for_a_request(server: Serving) -> None:
    """A proxy that goes by the other length takes it for a part of the body."""
    rest = b"%x\r\n%s\r\n0\r\n\r\n" % (len(GOOD), GOOD) + request("GET", "/v1/models")
    client = server.connect()
    client.send(request("POST", "/v1/embeddings", rest, transfer_encoding="chunked"))
    assert client.answer().status == 200
    assert client.is_closed()


@pytest.mark.parametrize("host", ["[", "a b", "a/../b", "\xff", "", "a" * 5000])
def test_a_host_that_is_none_does_not_matter(server: Serving, host: str) -> None:
    client = server.connect()
    client.send(b"GET /nothing/ HTTP/1.1\r\nhost: " + host.encode("latin-1") + b"\r\n\r\n")
    assert client.answer().status in (400, 404)
    assert works(server.connect())


@pytest.mark.parametrize(
    "path", ["/nothing", "/v1/embeddings/", "//v1/embeddings", "/%ff%00", "/../etc/passwd", "*", "/?" + "a" * 9000]
)
def test_a_path_that_is_none_is_not_found(server: Serving, path: str) -> None:
    client = server.connect()
    assert client.ask("PUT", path, GOOD).status in (404, 405)
    assert works(client)


@each_route
def test_another_method_is_refused(server: Serving, endpoint: Endpoint) -> None:
    client = server.connect()
    answer = client.ask("DELETE", endpoint.path, GOOD)
    assert answer.status == 405
    assert endpoint.method in answer.headers["allow"]
    assert works(client)


def test_an_upgrade_that_is_not_offered_is_answered_plainly(server: Serving) -> None:
    for protocol in ("websocket", "h2c"):
        assert server.ask("GET", "/health/live", connection="upgrade", upgrade=protocol).status == 200


def test_pipelined_requests_are_answered_in_their_order(server: Serving) -> None:
    client = server.connect()
    names = [f"number-{number}" for number in range(20)]
    bodies = [GOOD if number % 3 else b"{" for number in range(20)]
    pairs = zip(names, bodies, strict=True)
    client.send(b"".join(request("POST", "/v1/embeddings", body, x_request_id=name) for name, body in pairs))
    answers = [client.answer() for _ in names]
    assert [answer.headers["x-request-id"] for answer in answers] == names
    assert [answer.status for answer in answers] == [200 if body is GOOD else 400 for body in bodies]


def test_a_pipelined_request_may_ask_before_it_sends_its_body(server: Serving) -> None:
    client = server.connect()
    head, _, body = request("POST", "/v1/embeddings", GOOD, expect="100-continue").partition(b"\r\n\r\n")
    client.send(request("POST", "/v1/embeddings", GOOD) + head + b"\r\n\r\n")
    assert [client.answer().status, client.answer().status] == [200, 100]
    client.send(body)
    assert client.answer().status == 200


def test_many_connections_that_say_nothing_cost_nothing(server: Serving) -> None:
    for _ in range(300):
        server.connect()
    assert works(server.connect())


def test_clients_that_send_slowly_take_no_place(tiny: Path) -> None:
    with serve(tiny, "--max-requests", 1) as server:
        slow = [server.connect() for _ in range(5)]
        for client in slow:
            client.send(request("POST", "/v1/embeddings", GOOD)[:-5])
        assert works(server.connect())
        for client in slow:
            client.send(GOOD[-5:])
            assert client.answer().status == 200


def test_bodies_that_are_being_read_have_a_limit_together(tiny: Path) -> None:
    with serve(tiny, "--max-buffered-bytes", 250_000) as server:
        body = b'{"input": "a text"}' + b" " * 150_000
        first, second = server.connect(), server.connect()
        first.send(request("POST", "/v1/embeddings", body)[:-5])
        second.send(request("POST", "/v1/embeddings", body)[:-5])
        answered = select.select([first.socket, second.socket], [], [], 60)[0]
        refused, held = (first, second) if first.socket in answered else (second, first)
        answer = refused.answer()
        assert (answer.status, answer.headers["retry-after"]) == (429, "1")
        refused.send(body[-5:])
        held.send(body[-5:])
        assert held.answer().status == 200
        assert works(refused)


# Slow clients.


def trickle(client: Client, data: bytes) -> None:
    """Send a byte at a time, until the server has had enough."""
    for number in range(len(data)):
        try:
            client.send(data[number : number + 1])
        except OSError:
            return
        if select.select([client.socket], [], [], 0.02)[0]:
            return


def test_headers_that_trickle_in_are_refused(hasty: Serving) -> None:
    client = hasty.connect()
    trickle(client, request("POST", "/v1/embeddings", x_long="a" * 5000))
    answer = client.answer()
    assert answer.status == 408
    assert "headers" in answer.json["error"]["message"]
    assert client.is_closed()


def test_headers_of_a_later_request_have_no_more_time(hasty: Serving) -> None:
    client = hasty.connect()
    assert works(client)
    trickle(client, request("POST", "/v1/embeddings", x_long="a" * 5000))
    assert client.answer().status == 408
    assert client.is_closed()


def test_an_idle_connection_may_wait_longer_than_headers(hasty: Serving) -> None:
    client = hasty.connect()
    assert works(client)
    time.sleep(0.6)
    assert works(client)


@pytest.mark.parametrize("data", [b"", b"\r\n"], ids=["nothing", "blank lines"])
def test_a_connection_that_never_says_anything_is_closed(hasty: Serving, data: bytes) -> None:
    client = hasty.connect()
    trickle(client, data * 1000)
    if data:
        assert client.answer().status in (400, 408)
    assert client.is_closed()


@each_route
def test_a_body_that_trickles_in_is_refused(hasty: Serving, endpoint: Endpoint) -> None:
    client = hasty.connect()
    head, _, _ = request("POST", endpoint.path, b" " * 5000).partition(b"\r\n\r\n")
    client.send(head + b"\r\n\r\n")
    trickle(client, b" " * 5000)
    assert refused(client.answer(), endpoint, "timeout")
    assert client.is_closed()


def test_a_request_that_was_refused_halfway_is_given_up(hasty: Serving) -> None:
    client = hasty.connect()
    head = request("POST", "/v1/embeddings", x_request_id="halfway")
    client.send(head.replace(b"content-length: 0", b"transfer-encoding: chunked") + b"5\r\n{    \r\n")
    client.send(b"many\r\n")
    assert client.answer().status == 400
    assert hasty.wait(lambda event: event.get("id") == "halfway")["status"] == 499
    assert client.is_closed()


def test_a_refused_body_that_trickles_in_is_cut_off(hasty: Serving) -> None:
    client = hasty.connect()
    client.send(request("POST", "/v1/embeddings", content_type="image/png").replace(b"length: 0", b"length: 5000"))
    assert client.answer().status == 415
    trickle(client, b" " * 5000)
    assert client.is_closed()


def test_a_client_that_does_not_read_its_answer_is_cut_off(hasty: Serving) -> None:
    client = hasty.connect()
    client.send(request("POST", "/v1/embeddings", b'{"input": [' + b",".join([b'"a text"'] * 2000) + b"]}"))
    poll = select.poll()
    poll.register(client.socket, select.POLLHUP)
    assert poll.poll(60_000), "the connection is still open"
    assert works(hasty.connect())


def test_a_client_that_reads_its_answer_drop_by_drop_is_cut_off(hasty: Serving) -> None:
    client = hasty.connect()
    client.send(request("POST", "/tokenize", b'{"inputs": "' + b"a " * 90_000 + b'"}'))
    select.select([client.socket], [], [], 60)
    read = 0
    while part := client.socket.recv(300_000):
        read += len(part)
        time.sleep(0.3 * len(part) / 300_000)
    assert 0 < read < 3_000_000


def test_an_answer_has_its_time_whenever_the_one_before_was_written(tiny: Path, tmp_path: Path) -> None:
    with serve(tiny, "--uds", tmp_path / "socket", "--write-timeout", 1) as server:
        client = server.connect()
        client.send(request("POST", "/v1/embeddings", b'{"input": [' + b",".join([b'"a text"'] * 1500) + b"]}"))
        assert len(client.answer().json["data"]) == 1500
        time.sleep(0.5)
        client.send(request("POST", "/v1/embeddings", b'{"input": [' + b",".join([b'"a text"'] * 2000) + b"]}"))
        time.sleep(0.75)  # past the first answer's time, not past this one's
        assert len(client.answer().json["data"]) == 2000
