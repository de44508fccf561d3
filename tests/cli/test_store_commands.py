"""``embedge list`` and ``embedge remove``: the bundles that have names."""

import json
import re
import shutil
from pathlib import Path

import pytest

from tests.cases import listing
from tests.cli.running import Cli


@pytest.fixture
def full_store(store: Path, tiny: Path) -> Path:
    """A store with the bundles ``someone/tiny`` and ``else/half``, of which one file is left."""
    shutil.copytree(tiny, store / "someone" / "tiny")
    (store / "else" / "half").mkdir(parents=True)
    shutil.copy(tiny / "model.int8.onnx", store / "else" / "half")
    return store


def test_list_shows_variants_size_and_fidelity(cli: Cli, full_store: Path) -> None:
    assert cli("list") == 0
    assert cli.err == ""
    half, tiny = cli.out.splitlines()
    assert re.fullmatch(r"else/half     damaged: .+manifest\.json.+", half)
    assert re.fullmatch(r"someone/tiny +\d+\.\d MB  int8 \(cosine [01]\.\d{4}\), fp32 \(cosine 1\.0000\)", tiny)


def test_list_json_has_the_paths_too(cli: Cli, full_store: Path) -> None:
    assert cli("list", "--json") == 0
    half, tiny = json.loads(cli.out)
    assert (half["name"], half["variants"], half["bytes"]) == ("else/half", {}, None)
    assert "manifest.json" in half["error"]
    assert (tiny["name"], tiny["path"], tiny["error"]) == ("someone/tiny", str(full_store / "someone" / "tiny"), None)
    assert list(tiny["variants"]) == ["int8", "fp32"]
    assert set(tiny["variants"]["int8"]) == {"bytes", "mean_cosine", "min_cosine"}


def test_list_shows_a_bundle_of_which_a_file_was_cut_off_as_damaged(cli: Cli, full_store: Path) -> None:
    with (full_store / "someone" / "tiny" / "model.int8.bin").open("r+b") as file:
        file.truncate(10)
    assert cli("list") == 0
    assert re.search(r"^someone/tiny  damaged: .+model\.int8\.bin has 10 bytes", cli.out, re.MULTILINE)


def test_list_of_an_empty_store_says_how_to_fill_it(cli: Cli, store: Path) -> None:
    assert cli("list") == 0
    assert (cli.out, cli.err) == (
        "",
        f"embedge: no bundle in {store} yet; make one with `embedge export BAAI/bge-small-en`\n",
    )
    assert cli("list", "--json") == 0
    assert (json.loads(cli.out), cli.err) == ([], "")


def test_remove_deletes_a_bundle_and_says_what_that_frees(cli: Cli, full_store: Path) -> None:
    size = sum(path.stat().st_size for path in (full_store / "someone" / "tiny").iterdir())
    assert cli("remove", "Someone/Tiny") == 0
    assert cli.out == f"removed Someone/Tiny, freed {size / 1e6:.1f} MB\n"
    assert listing(full_store) == ["else"]
    assert cli("remove", "else/half") == 0
    assert listing(full_store) == []


@pytest.mark.parametrize("path", [".", "..", "/", "../x", "./someone/tiny", "/someone/tiny", "a/b/c", "tiny", ".git/x"])
def test_remove_refuses_paths(cli: Cli, full_store: Path, path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(full_store)
    assert "is not a name of the form OWNER/NAME" in cli.error("remove", path)
    assert listing(full_store) == ["else", "someone"]


def test_remove_of_a_name_that_is_not_there_points_to_the_list(cli: Cli, full_store: Path) -> None:
    assert "`embedge list` shows those that are there" in cli.error("remove", "someone/other")
