"""The process: where it listens, how it starts, and how signals end it."""

import argparse
import fcntl
import os
import pty
import resource
import signal
import socket
import subprocess
import sys
import termios
import time
from pathlib import Path

import pytest

from embedge.cli import serve as command
from embedge.server import Settings
from embedge_export import export
from tests.cases import MakeCheckpoint
from tests.cli.running import process
from tests.layouts import write_reranker
from tests.server.running import Client, request, serve

BODY = b'{"input": "a text"}'
EMBED = request("POST", "/v1/embeddings", BODY)


def test_the_first_lines_say_what_is_served_and_where(tiny: Path) -> None:
    with serve(tiny) as server:
        serving = server.event("serving")
        assert serving["message"] == "serving tiny"
        assert (serving["variant"], serving["dimensions"]) == ("int8", 16)
        answer = server.ask("POST", "/v1/embeddings", BODY)
        assert answer.headers["x-embedge-fingerprint"] == serving["fingerprint"]
        assert server.event("page")["url"] == f"{server.url}/"
        assert not [event for event in server.log if event["level"] == "warning"]


def test_the_flags_default_to_the_settings_defaults() -> None:
    parser = argparse.ArgumentParser()
    command.add(parser)
    assert command._settings(parser.parse_args([])) == Settings()
    assert {limit.field for limit in command._LIMITS} | {"page", "open_metrics", "cors_origins"} == set(
        Settings.__dataclass_fields__
    )


def test_without_the_extra_one_line_says_how_to_install_it() -> None:
    code = "import sys; sys.modules['starlette'] = None; from embedge.cli import main; sys.exit(main(['serve']))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, timeout=60)
    assert done.returncode == 1
    assert done.stderr.decode() == 'embedge: error: this command needs starlette: pip install "embedge[serve]"\n'


def test_embedders_and_rerankers_are_served_together(
    tiny: Path, make_checkpoint: MakeCheckpoint, tmp_path: Path
) -> None:
    export(write_reranker(make_checkpoint()), tmp_path / "reranker", precision="fp32")
    with serve(tiny, "--model", tmp_path / "reranker") as server:
        assert {one["id"] for one in server.ask("GET", "/v1/models").json["data"]} == {"tiny", "reranker"}
        assert server.ask("POST", "/v1/embeddings", BODY).status == 200


def test_one_bundle_twice_is_one_line(tiny: Path) -> None:
    assert fails(tiny, tiny, "--port", 0).startswith("embedge: error: two bundles are called tiny")


def test_a_bundle_that_is_not_there_is_one_line(tmp_path: Path) -> None:
    assert fails(tmp_path / "nothing", "--port", 0).startswith("embedge: error: ")


# Signals.


@pytest.mark.parametrize("name", ["SIGTERM", "SIGINT", "SIGHUP"])
def test_a_signal_lets_what_is_under_way_finish(tiny: Path, name: str) -> None:
    with serve(tiny) as server:
        busy, idle = server.connect(), server.connect()
        assert idle.ask("GET", "/health/ready").status == 200
        busy.send(EMBED[:-5])
        assert idle.ask("GET", "/health/live").status == 200  # so the other was accepted
        server.signal(name)
        server.event("stopping")
        with pytest.raises(ConnectionRefusedError):
            server.connect()
        stopping = idle.ask("GET", "/health/ready")
        assert (stopping.status, stopping.headers["connection"]) == (503, "close")
        busy.send(EMBED[-5:])
        assert busy.answer().status == 200
        assert busy.is_closed()
        assert server.end() == 0


def test_idle_connections_do_not_hold_the_exit_back(tiny: Path) -> None:
    with serve(tiny) as server:
        silent, used = server.connect(), server.connect()
        assert used.ask("GET", "/health/live").status == 200
        server.signal("SIGTERM")
        assert silent.is_closed()
        assert used.is_closed()
        assert server.end() == 0


@pytest.mark.parametrize("name", ["SIGTERM", "SIGINT"])
def test_a_second_signal_ends_it_at_once(tiny: Path, tmp_path: Path, name: str) -> None:
    path = tmp_path / "socket"
    with serve(tiny, "--uds", path) as server:
        busy = server.connect()
        busy.send(EMBED[:-5])
        server.signal("SIGTERM")
        server.event("stopping")
        server.signal(name)
        assert server.end() == 128 + signal.Signals[name]
        assert not path.exists()


def test_after_the_grace_time_what_is_left_is_dropped_without_an_error(tiny: Path) -> None:
    with serve(tiny, "--grace", 0.2) as server:
        busy = server.connect()
        busy.send(EMBED[:-5])
        assert server.ask("GET", "/health/live").status == 200
        server.signal("SIGTERM")
        assert busy.is_closed()
        assert server.end() == 0
        assert server.event("1 requests were not finished")["level"] == "warning"
        assert not [event for event in server.log if event["level"] == "error" or "traceback" in event]


def test_a_client_that_reads_nothing_does_not_hold_the_exit_back(tiny: Path, tmp_path: Path) -> None:
    with serve(tiny, "--grace", 0.2, "--uds", tmp_path / "socket") as server:
        client = server.connect()
        client.send(request("POST", "/v1/embeddings", b'{"input": [' + b",".join([b'"a text"'] * 2000) + b"]}"))
        assert server.event("request")["status"] == 200
        server.signal("SIGTERM")
        assert server.end() == 0


def test_long_texts_do_not_hold_the_exit_back_beyond_the_grace_time(tiny: Path) -> None:
    body = b'{"input": [' + b",".join([b'"%s"' % (b"a text " * 500)] * 2000) + b"]}"
    with serve(tiny, "--grace", 0.1) as server:
        began = time.monotonic()
        assert server.ask("POST", "/v1/embeddings", body).status in (200, 413)
        took = time.monotonic() - began
        for _ in range(8):
            server.connect().send(request("POST", "/v1/embeddings", body))
        began = time.monotonic()
        server.signal("SIGTERM")
        assert server.end() == 0
        assert time.monotonic() - began < took


@pytest.mark.parametrize("with_keys", [False, True])
def test_a_terminal_that_is_closed_ends_it(tiny: Path, tmp_path: Path, with_keys: bool) -> None:
    """Although SIGHUP has keys read again, which is what a closed terminal sends."""
    (tmp_path / "keys").write_text("a-key")
    options = ["--api-key-file", tmp_path / "keys"] if with_keys else []
    ours, its = pty.openpty()

    def take_terminal() -> None:
        os.setsid()
        fcntl.ioctl(its, termios.TIOCSCTTY, 0)

    with serve(tiny, *options, preexec_fn=take_terminal, pass_fds=[its]) as server:
        os.close(its)
        os.close(ours)
        assert server.end() == 0


def test_one_that_nohup_has_started_outlives_its_terminal(tiny: Path, tmp_path: Path) -> None:
    (tmp_path / "keys").write_text("a-key")
    ours, its = pty.openpty()

    def take_terminal() -> None:
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        os.setsid()
        fcntl.ioctl(its, termios.TIOCSCTTY, 0)

    with serve(tiny, "--api-key-file", tmp_path / "keys", preexec_fn=take_terminal, pass_fds=[its]) as server:
        os.close(its)
        os.close(ours)
        server.event("keys read again")
        assert server.ask("GET", "/health/ready").status == 200
        server.signal("SIGTERM")
        assert server.end() == 0


# Where it listens.


def fails(*arguments: object) -> str:
    """The one line of a server that does not start."""
    done = process("serve", *arguments)
    assert done.returncode == 1
    (line,) = done.stderr.decode().splitlines()
    return str(line)


def test_a_port_in_use_is_one_line(tiny: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        assert fails(tiny, "--port", port) == (
            f"embedge: error: 127.0.0.1:{port} is in use: choose another --port, or 0 for one that is free"
        )


def test_a_port_that_is_reserved_is_one_line() -> None:
    """In a process that gives root's rights up, after it has loaded what only root may read."""
    start = Path("/proc/sys/net/ipv4/ip_unprivileged_port_start")
    if not start.exists() or int(start.read_text()) <= 80:
        pytest.skip("no port is reserved here")
    code = (
        "import os, sys; from embedge.server import sockets; 'a'.encode('idna')\n"
        "if not os.getuid(): os.setuid(65534)\n"
        "try: sockets.bind('127.0.0.1', 80)\n"
        "except sockets.EmbedgeError as exc: print(exc)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.stdout == "127.0.0.1:80: this user may not listen there: choose a --port from 1024 up\n"


def test_an_address_of_another_machine_is_one_line(tiny: Path) -> None:
    assert fails(tiny, "--host", "192.0.2.1") == "embedge: error: 192.0.2.1:8080: this machine has no such address"


def test_a_name_that_is_none_is_one_line(tiny: Path) -> None:
    assert fails(tiny, "--host", "a" * 64).startswith(f"embedge: error: --host {'a' * 64}: ")


def test_no_model_is_loaded_for_an_address_that_is_in_use(copy: Path) -> None:
    (copy / "model.int8.bin").write_bytes(b"")
    with socket.create_server(("127.0.0.1", 0)) as other:
        assert "in use" in fails(copy, "--port", other.getsockname()[1])


def test_a_name_with_several_addresses_has_one_port(tiny: Path) -> None:
    with serve(tiny, "--host", "localhost") as server:
        port = int(server.url.rpartition(":")[2])
        for *_, address in socket.getaddrinfo("localhost", port, type=socket.SOCK_STREAM):
            with socket.create_connection((str(address[0]), port)):
                pass


def test_other_machines_without_a_key_are_warned_of(tiny: Path) -> None:
    with serve(tiny, "--host", "0.0.0.0") as server:
        assert "everybody" in server.event("everybody")["message"]
        assert server.url.startswith("http://localhost:")
    with serve(tiny, "--host", "0.0.0.0", environment={"EMBEDGE_API_KEYS": "secret"}) as server:
        assert not [event for event in server.log if event["level"] == "warning"]


def test_a_unix_socket_is_there_while_the_server_runs(tiny: Path, tmp_path: Path) -> None:
    path = tmp_path / "socket"
    with serve(tiny, "--uds", path) as server:
        assert server.ask("POST", "/v1/embeddings", BODY).status == 200
        server.signal("SIGTERM")
        assert server.end() == 0
    assert not path.exists()


def test_a_unix_socket_that_was_left_behind_is_replaced(tiny: Path, tmp_path: Path) -> None:
    path = tmp_path / "socket"
    with serve(tiny, "--uds", path) as server:
        server.signal("SIGKILL")
        server.end()
    assert path.exists()
    with serve(tiny, "--uds", path) as server:
        assert server.ask("GET", "/health/ready").status == 200


def test_a_unix_socket_in_use_is_one_line_and_stays(tiny: Path, tmp_path: Path) -> None:
    path = tmp_path / "socket"
    with serve(tiny, "--uds", path) as server:
        assert fails(tiny, "--uds", path) == f"embedge: error: --uds {path}: a server listens there already"
        assert server.ask("GET", "/health/ready").status == 200


def test_a_file_in_the_place_of_the_unix_socket_is_kept(tiny: Path, tmp_path: Path) -> None:
    path = tmp_path / "notes"
    path.write_text("mine")
    assert fails(tiny, "--uds", path) == f"embedge: error: --uds {path}: a file that is no socket is there"
    assert path.read_text() == "mine"


def test_more_connections_than_the_shells_limit_of_files(tiny: Path) -> None:
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    if hard <= 200:
        pytest.skip("the system grants few files")

    with serve(tiny, preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (64, hard))) as server:
        clients: list[Client] = [server.connect() for _ in range(150)]
        assert {client.ask("GET", "/health/live").status for client in clients} == {200}
        for client in clients:
            client.close()


def test_it_listens_where_ipv6_is(tiny: Path) -> None:
    if not socket.has_ipv6 or not os.path.exists("/proc/net/if_inet6"):  # noqa: PTH110
        pytest.skip("this machine has no IPv6")
    with serve(tiny, "--host", "::1") as server:
        assert server.url.startswith("http://[::1]:")
