"""``embedge export`` as a user meets it."""

import json
import re
import sys
from pathlib import Path

import pytest

from tests.cases import MakeCheckpoint
from tests.cli.running import Cli


def export_error(cli: Cli, *arguments: object) -> str:
    """The one line of error at the end of an export that fails, after the steps it took."""
    assert cli("export", *arguments) == 1
    assert cli.out == ""
    *steps, error = cli.err.splitlines()
    assert all(re.match(r" *\d+\.\d s  ", step) for step in steps)
    assert error.startswith("embedge: error: ")
    return error


def test_export_writes_a_bundle_and_tells_its_size_and_fidelity(
    cli: Cli, make_checkpoint: MakeCheckpoint, tmp_path: Path
) -> None:
    assert cli("export", make_checkpoint(), tmp_path / "out", "--precision", "int8,fp32", "--max-tokens", "100") == 0
    told = re.match(rf"{re.escape(str(tmp_path / 'out'))}: ([\d.]+) MB in [\d.]+ s\n", cli.out)
    size = sum(path.stat().st_size for path in (tmp_path / "out").iterdir())
    assert told
    assert told[1] == f"{size / 1e6:.1f}"
    assert re.search(r"int8: cosine to fp32 0\.99\d+ mean", cli.out)
    assert cli("info", "--json", tmp_path / "out") == 0
    assert json.loads(cli.out)["max_tokens"] == 100


def test_export_of_a_directory_that_is_not_there_is_told(cli: Cli, tmp_path: Path) -> None:
    assert "neither a directory nor a hub id" in export_error(cli, tmp_path / "none", tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("kind", "options"), [("mpnet", []), ("bert", ["--via", "optimum"])])
def test_export_that_needs_another_extra_tells_which(
    cli: Cli,
    make_checkpoint: MakeCheckpoint,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    kind: str,
    options: list[str],
) -> None:
    monkeypatch.delitem(sys.modules, "embedge_export.traced.network", raising=False)
    monkeypatch.setitem(sys.modules, "embedge_export.traced.fusion", None)  # where the extra is installed after all
    message = export_error(cli, make_checkpoint(model_type=kind), tmp_path / "out", *options)
    assert "pip install 'embedge[optimum]'" in message
    assert not (tmp_path / "out").exists()


def test_export_to_a_place_that_is_taken_is_told_before_anything_is_read(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.txt").touch()
    assert f"{tmp_path / 'out'} exists" in cli.error("export", "nowhere", tmp_path / "out")
    assert "is not a bundle" in cli.error("export", "nowhere", tmp_path / "out", "--force")
    assert (tmp_path / "out" / "thesis.txt").exists()


def test_export_in_an_unknown_precision_is_told_before_anything_is_read(cli: Cli, tmp_path: Path) -> None:
    message = cli.error("export", "nowhere", tmp_path / "out", "--precision", "int8,int4")
    assert "int4" in message
    assert "int8, fp16, fp32" in message


def test_export_of_a_directory_needs_a_place(cli: Cli, make_checkpoint: MakeCheckpoint, store: Path) -> None:
    message = cli.error("export", make_checkpoint("mine"))
    assert "is a directory and has no name in the store: give OUT, such as models/mine" in message
    assert not store.exists()


def test_export_of_what_is_neither_a_directory_nor_a_hub_id_is_told_without_a_place_too(cli: Cli) -> None:
    assert "neither a directory nor a hub id (OWNER/NAME" in cli.error("export", "a/b/c")
    assert "can't be the name of a directory on Windows" in cli.error("export", "con/model")
