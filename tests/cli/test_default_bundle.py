"""Which bundle a command takes when none is named."""

import json
import re
import shutil
from pathlib import Path

import pytest

from tests.cli.running import Cli, lines_of


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


def test_two_bundles_under_models_are_named(cli: Cli, bundle: Path, place: Path) -> None:
    for name in ("mine", "yours"):
        (place / "models" / name).symlink_to(bundle)
    assert "2 bundles under ./models (mine, yours): choose one with --model or EMBEDGE_MODEL" in cli.error(
        "embed", "text"
    )


def test_a_model_option_is_taken_where_the_bundle_is_an_argument(cli: Cli, tiny: Path) -> None:
    for command in ("info", "verify", "doctor"):
        assert cli(command, "--model", tiny) == 0
    assert cli("info", "--json", "--model", tiny) == 0
    assert json.loads(cli.out)["path"] == str(tiny)


def test_the_only_bundle_in_the_store_is_the_default_where_models_has_none(
    cli: Cli, tiny: Path, place: Path, store: Path
) -> None:
    shutil.copytree(tiny, store / "someone" / "tiny")
    assert cli("info", "--json") == 0
    assert json.loads(cli.out)["path"] == str(store / "someone" / "tiny")
    shutil.copytree(tiny, store / "someone" / "other")
    message = cli.error("info")
    assert f"2 bundles under {store} (someone/other, someone/tiny): choose one" in message
    shutil.copytree(tiny, place / "models" / "mine")
    assert cli("info", "--json") == 0
    assert json.loads(cli.out)["path"] == "models/mine"


def test_the_environment_may_give_a_name(
    cli: Cli, tiny: Path, place: Path, store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(tiny, store / "someone" / "tiny")
    monkeypatch.setenv("EMBEDGE_MODEL", "someone/tiny")
    assert cli("embed", "text") == 0
    assert len(lines_of(cli.out)) == 1
