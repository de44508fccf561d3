"""Which bundle a command takes when none is named."""

import re
from pathlib import Path

import pytest

from tests.cli.running import Cli


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with an empty ``models``."""
    (tmp_path / "models").mkdir()
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_only_bundle_under_models_is_the_default(cli: Cli, bundle: Path, place: Path) -> None:
    (place / "models" / "mine").symlink_to(bundle)
    assert cli("info") == 0
    assert re.search(r"^bundle +models/mine$", cli.out, re.MULTILINE)


def test_the_environment_names_the_default_before_models(
    cli: Cli, bundle: Path, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (place / "models" / "mine").symlink_to(bundle)
    monkeypatch.setenv("EMBEDGE_MODEL", str(bundle))
    assert cli("info") == 0
    assert re.search(rf"^bundle +{re.escape(str(bundle))}$", cli.out, re.MULTILINE)


def test_an_argument_goes_before_the_environment(
    cli: Cli, bundle: Path, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EMBEDGE_MODEL", str(place / "none"))
    assert cli("info", bundle) == 0


def test_without_a_default_the_ways_to_name_one_are_told(cli: Cli, place: Path) -> None:
    message = cli.error("embed", "text")
    assert "no bundle under ./models" in message
    assert "--model" in message
    assert "EMBEDGE_MODEL" in message


def test_two_bundles_under_models_are_told_by_name(cli: Cli, bundle: Path, place: Path) -> None:
    for name in ("mine", "yours"):
        (place / "models" / name).symlink_to(bundle)
    assert "2 bundles (mine, yours)" in cli.error("embed", "text")
