"""``progress=True`` where standard error is no terminal, or nothing at all."""

import io
import os
import sys
from pathlib import Path

import pytest

from embedge import Embedder


@pytest.fixture
def small(tiny: Path) -> Embedder:
    return Embedder.load(tiny)


def test_without_standard_error_the_work_is_done(small: Embedder, monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a program without a console."""
    monkeypatch.setattr(sys, "stderr", None)
    with small:
        assert small.embed(["a text"], progress=True).shape == (1, 16)


def test_a_log_file_gets_no_control_codes(small: Embedder, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with (tmp_path / "log").open("w") as log, small:
        monkeypatch.setattr(sys, "stderr", log)
        small.embed(["a text"] * 2000, progress=True)
    assert (tmp_path / "log").read_bytes() == b""


@pytest.mark.parametrize("closed", ["before", "meanwhile"])
def test_a_standard_error_that_is_closed_stops_no_work(
    small: Embedder, monkeypatch: pytest.MonkeyPatch, closed: str
) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            if closed == "before":
                raise ValueError("I/O operation on closed file")
            self.close()
            return True

    monkeypatch.setattr(sys, "stderr", Terminal())
    with small:
        assert small.embed(["a text"], progress=True).shape == (1, 16)


@pytest.mark.skipif(os.name == "nt", reason="Windows has no pseudo terminals")
@pytest.mark.parametrize(("kind", "shown"), [("xterm", True), ("dumb", False)])
def test_a_terminal_without_control_codes_is_spared(
    small: Embedder, monkeypatch: pytest.MonkeyPatch, kind: str, shown: bool
) -> None:
    import pty

    monkeypatch.setenv("TERM", kind)
    ours, theirs = pty.openpty()
    with os.fdopen(theirs, "w") as terminal, small:
        monkeypatch.setattr(sys, "stderr", terminal)
        small.embed(["a text"], progress=True)
        terminal.write("end")
        terminal.flush()
        written = b""
        while not written.endswith(b"end"):
            written += os.read(ours, 4096)
    os.close(ours)
    assert (b"1/1 texts" in written) == shown
