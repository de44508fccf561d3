"""Ctrl-C, signals and readers that go away."""

import contextlib
import os
import select
import signal
import subprocess
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from tests.cli.running import EMBEDGE, needs_signals


def test_a_closed_pipe_is_silent(bundle: Path, tmp_path: Path) -> None:
    (tmp_path / "texts.txt").write_text("text\n" * 300)
    command = [*EMBEDGE, "embed", "--model", str(bundle), "--file", str(tmp_path / "texts.txt")]
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment) as running:
        assert running.stdout
        assert running.stderr
        assert running.stdout.readline().startswith(b'{"index":0,')
        running.stdout.close()
        assert running.stderr.read() == b""
    assert running.returncode != 0


@needs_signals
@pytest.mark.parametrize(("number", "codes"), [(signal.SIGINT, (130, -2)), (signal.SIGTERM, (143, -15))])
def test_a_signal_ends_a_long_run_without_a_traceback(
    bundle: Path, tmp_path: Path, number: int, codes: tuple[int, ...]
) -> None:
    command = [*EMBEDGE, "embed", "--model", str(bundle), "--out", str(tmp_path / "x.npy")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as running:
        assert running.stdin
        # It takes texts 1024 at a time: once this many lines are through the pipe, it embeds the first of them.
        feeder = threading.Thread(target=feed, args=(running.stdin, b"A long line of words. " * 40 + b"\n", 2000))
        feeder.start()
        feeder.join(20)
        time.sleep(0.3)
        assert running.poll() is None
        running.send_signal(number)
        try:
            running.wait(20)
        finally:
            running.kill()
        assert running.stdout
        assert running.stderr
        told = running.stdout.read(), running.stderr.read()
        feeder.join()
    assert running.returncode in codes
    assert told == (b"", b"")
    assert list(tmp_path.iterdir()) == []


def feed(pipe: Any, line: bytes, count: int) -> None:
    """Write until the pipe has taken nothing for a while: its reader is busy then."""
    os.set_blocking(pipe.fileno(), False)
    data, sent = line * count, 0
    while sent < len(data) and select.select([], [pipe], [], 1.5)[1]:
        with contextlib.suppress(BlockingIOError, BrokenPipeError):
            sent += os.write(pipe.fileno(), data[sent : sent + 65536])


@pytest.mark.parametrize("delay", [0.06, 0.1, 0.15, 0.25])
def test_ctrl_c_while_it_starts_is_no_traceback(bundle: Path, delay: float) -> None:
    """Before main runs, Python itself is starting and tells of the interrupt in its own way."""
    command = [*EMBEDGE, "embed", "--model", str(bundle), "text"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        time.sleep(delay)
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=60)
    if process.returncode in (0, 130):
        assert b"Traceback" not in errors
    else:
        assert b"embedge/__main__.py" not in errors
    assert b"ImportError" not in errors
