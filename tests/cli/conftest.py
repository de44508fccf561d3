"""The command line, and a process that it leaves as it was."""

import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.running import Cli


@pytest.fixture(autouse=True)
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the store is: not the user's, and not there yet. The user's default model is hidden as well."""
    monkeypatch.delenv("EMBEDGE_MODEL", raising=False)
    monkeypatch.setenv("EMBEDGE_HOME", str(tmp_path / "store"))
    return tmp_path / "store"


@pytest.fixture(autouse=True)
def warnings_as_before() -> Iterator[None]:
    """Puts back what ``main`` changes in its process."""
    with warnings.catch_warnings():
        form = warnings.formatwarning
        yield
        warnings.formatwarning = form


@pytest.fixture
def cli(capsys: pytest.CaptureFixture[str]) -> Cli:
    """The command line, in this process."""
    return Cli(capsys)
