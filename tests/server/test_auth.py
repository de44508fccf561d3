"""Who gets in: keys from a file and the environment, which are read again while the server runs."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from embedge.errors import EmbedgeError
from embedge.requests import Refused
from embedge.server.app import ENDPOINTS
from embedge.server.auth import Keys
from embedge.server.dialect import Endpoint
from tests.cli.running import process
from tests.server.running import Serving, request, serve

GOOD = b'{"input": "a text"}'


def write_keys(file: Path, text: str) -> Path:
    file.write_text(text)
    file.chmod(0o600)
    return file


@pytest.fixture(scope="module")
def server(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    file = write_keys(tmp_path_factory.mktemp("keys") / "keys", "# Ann's\nkey-of-ann\n\n  key-of-bob  \r\n")
    with serve(tiny, "--api-key-file", file, environment={"EMBEDGE_API_KEYS": "key-of-cy, key-of-di"}) as found:
        yield found


def status(server: Serving, key: str) -> int:
    return server.ask("POST", "/v1/embeddings", GOOD, authorization=f"Bearer {key}").status


@pytest.mark.parametrize("endpoint", ENDPOINTS, ids=lambda endpoint: f"{endpoint.method} {endpoint.path}")
def test_every_route_but_the_open_ones_needs_a_key(server: Serving, endpoint: Endpoint) -> None:
    body = b"{}" if endpoint.body else b""
    answer = server.ask(endpoint.method, endpoint.path, body)
    with_key = server.ask(endpoint.method, endpoint.path, body, authorization="Bearer key-of-ann")
    assert with_key.status != 401
    if endpoint.open:
        assert answer.status == with_key.status
    else:
        assert answer.status == endpoint.dialect.statuses["unauthorized"]
        assert answer.headers["www-authenticate"] == "Bearer"
        assert answer.json.keys() == endpoint.dialect.body(Refused("unauthorized", "")).keys()


@pytest.mark.parametrize("key", ["key-of-ann", "key-of-bob", "key-of-cy", "key-of-di"])
def test_each_key_gets_in(server: Serving, key: str) -> None:
    assert status(server, key) == 200
    assert server.ask("GET", "/v1/models", authorization=f"bearer  {key}").status == 200


@pytest.mark.parametrize(
    "header",
    ["Bearer", "Bearer ", "Bearer key-of-an", "Bearer key-of-ann2", "Bearer # Ann's", "key-of-ann", "Basic key-of-ann"],
)
def test_whatever_else_stays_out(server: Serving, header: str) -> None:
    assert server.ask("POST", "/v1/embeddings", GOOD, authorization=header).status == 401


def test_a_body_is_not_waited_for_without_a_key(server: Serving) -> None:
    client = server.connect()
    client.send(request("POST", "/v1/embeddings", GOOD).replace(GOOD, b""))
    assert client.answer().status == 401


def test_metrics_are_open_where_that_is_asked_for(tiny: Path) -> None:
    with serve(tiny, "--open-metrics", environment={"EMBEDGE_API_KEYS": "a-key"}) as server:
        assert server.ask("GET", "/metrics").status == 200
        assert server.ask("GET", "/v1/models").status == 401


def test_keys_are_read_again_at_sighup(tiny: Path, tmp_path: Path) -> None:
    file = write_keys(tmp_path / "keys", "old-key")
    with serve(tiny, "--api-key-file", file, environment={"EMBEDGE_API_KEYS": "fixed-key"}) as server:
        file.write_text("new-key\nnewer-key")
        server.signal("SIGHUP")
        assert server.event("keys read again: 2")["level"] == "info"
        assert [status(server, key) for key in ("old-key", "new-key", "newer-key", "fixed-key")] == [401, 200, 200, 200]
        for broken in ("two words", "# none", "k\N{LATIN SMALL LETTER E WITH ACUTE}y"):
            file.write_text(broken)
            known = len(server.log)
            server.signal("SIGHUP")
            server.wait(lambda event: event["message"].startswith("the keys stay as they are"), known)
            assert [status(server, key) for key in ("new-key", "fixed-key")] == [200, 200]
        file.unlink()
        server.signal("SIGHUP")
        assert status(server, "new-key") == 200
        server.signal("SIGTERM")
        assert server.end() == 0
        assert_secret(server, "old-key", "new-key", "fixed-key", "two words")


def assert_secret(server: Serving, *keys: str) -> None:
    log = repr(server.log)
    assert not [key for key in keys if key in log]
    command = Path(f"/proc/{server.process.pid}/cmdline")
    assert not command.exists() or not [key for key in keys if key in command.read_text()]


def test_keys_are_in_no_log(server: Serving) -> None:
    assert status(server, "key-of-ann") == 200
    assert status(server, "a-wrong-key") == 401
    assert server.ask("GET", "/nothing/key-of-cy?key=key-of-di").status == 404
    assert_secret(server, "key-of-ann", "a-wrong-key", "key-of-cy", "key-of-di")


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "has no key"),
        (b"# only a comment\n", "has no key"),
        (b"fine\nsecret words\n", "line 2: a key has ASCII characters and no spaces"),
        (b"secret\xff", "is not a text file in UTF-8"),
    ],
)
def test_a_file_without_usable_keys_is_one_line_without_them(
    tiny: Path, tmp_path: Path, content: bytes, reason: str
) -> None:
    file = tmp_path / "keys"
    file.write_bytes(content)
    done = process("serve", tiny, "--api-key-file", file)
    assert done.returncode == 1
    assert reason in done.stderr.decode()
    assert len(done.stderr.splitlines()) == 1
    assert b"secret" not in done.stderr


def test_a_file_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(EmbedgeError, match=r"keys: No such file"):
        Keys(file=tmp_path / "keys")


@pytest.mark.parametrize("value", ["", " , ", "clé"])
def test_a_variable_without_usable_keys_is_an_error(value: str) -> None:
    with pytest.raises(EmbedgeError, match="EMBEDGE_API_KEYS must be keys") as caught:
        Keys.find(None, {"EMBEDGE_API_KEYS": value})
    assert "clé" not in str(caught.value)


def test_a_file_that_others_can_read_is_warned_of(tiny: Path, tmp_path: Path) -> None:
    file = write_keys(tmp_path / "keys", "a-key")
    file.chmod(0o644)
    with serve(tiny, "--api-key-file", file) as server:
        assert server.event("everybody on this machine can read")["level"] == "warning"


def test_without_keys_everybody_gets_in() -> None:
    assert Keys().admit(None)
    assert Keys.find(None, {}).admit("Bearer anything")
