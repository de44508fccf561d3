"""The command line, and a process that it leaves as it was."""

import signal
import warnings
from collections.abc import Iterator

import pytest

from tests.cli.running import Cli


@pytest.fixture(autouse=True)
def process_state(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Puts back what ``main`` changes in its process, and hides the user's default model."""
    monkeypatch.delenv("EMBEDGE_MODEL", raising=False)
    handler = signal.getsignal(signal.SIGTERM)
    with warnings.catch_warnings():
        form = warnings.formatwarning
        yield
        warnings.formatwarning = form
    signal.signal(signal.SIGTERM, handler)


@pytest.fixture
def cli(capsys: pytest.CaptureFixture[str]) -> Cli:
    """The command line, in this process."""
    return Cli(capsys)
