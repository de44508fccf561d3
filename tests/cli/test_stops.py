"""Ctrl-C, signals and readers that go away."""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from tests.cli.running import EMBEDGE, Cli, heed_ctrl_c, needs_signals


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
@pytest.mark.parametrize(("number", "code"), [("SIGINT", 130), ("SIGTERM", 143), ("SIGHUP", 129)])
def test_a_signal_ends_a_long_run_with_one_line(bundle: Path, tmp_path: Path, number: str, code: int) -> None:
    (tmp_path / "texts.txt").write_text("text\n" * 5000)
    command = [*EMBEDGE, "embed", "--model", str(bundle), "--file", str(tmp_path / "texts.txt")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, preexec_fn=heed_ctrl_c) as running:
        assert running.stdout
        assert running.stdout.readline().startswith(b'{"index":0,')
        running.send_signal(signal.Signals[number])
        try:
            running.wait(20)  # although nobody reads what it prints
        finally:
            running.kill()
        assert running.stderr
        assert running.stderr.read() == f"embedge: stopped by {number}\n".encode()
    assert running.returncode == code


@needs_signals
def test_a_command_that_ignores_a_closed_terminal_goes_on(tiny: Path) -> None:
    """As after nohup."""
    command = [*EMBEDGE, "embed", "--model", str(tiny)]
    with subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN),
    ) as running:
        assert running.stdin
        assert running.stdout
        timer = threading.Timer(60, running.kill)  # or it would wait for ever
        timer.start()
        running.stdin.write(b"first\n")
        running.stdin.flush()
        assert running.stdout.readline().startswith(b'{"index":0,')
        running.send_signal(signal.SIGHUP)
        try:
            out, _ = running.communicate(b"second\n", timeout=60)
        finally:
            timer.cancel()
    assert out.startswith(b'{"index":1,')
    assert running.returncode == 0


@needs_signals
@pytest.mark.parametrize("delay", [0.06, 0.1, 0.15, 0.25])
def test_ctrl_c_while_it_starts_is_no_traceback(bundle: Path, delay: float) -> None:
    """Before main runs, Python itself is starting and reports the interrupt in its own way."""
    command = [*EMBEDGE, "embed", "--model", str(bundle), "text"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, preexec_fn=heed_ctrl_c) as process:
        time.sleep(delay)
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=60)
    if process.returncode in (0, 130):
        assert b"Traceback" not in errors
    else:
        assert b"embedge/__main__.py" not in errors
    assert b"ImportError" not in errors


@needs_signals
def test_ctrl_c_after_the_work_changes_nothing() -> None:
    code = """
import atexit, os, signal, sys
from embedge.cli import main
atexit.register(os.kill, os.getpid(), signal.SIGINT)
sys.exit(main())
"""
    done = subprocess.run(
        [sys.executable, "-c", code, "--version"], capture_output=True, preexec_fn=heed_ctrl_c, timeout=60
    )
    assert (done.returncode, done.stderr) == (0, b"")


@needs_signals
def test_commands_in_a_program_leave_its_handling_of_signals(cli: Cli) -> None:
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    assert cli("--version") == 0
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before
