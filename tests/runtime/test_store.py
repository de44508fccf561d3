"""Bundles by name: where the store is, what is found there, and what is not touched."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from embedge import Bundle, BundleError, Embedder, store, verify
from tests.cases import listing


@pytest.fixture
def place(tmp_path: Path, tiny: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A store with the bundle ``BAAI/bge-small-en``, seen from an empty working directory."""
    shutil.copytree(tiny, tmp_path / "store" / "BAAI" / "bge-small-en")
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    monkeypatch.setenv("EMBEDGE_HOME", str(tmp_path / "store"))
    return tmp_path / "store"


# Where it is


@pytest.mark.parametrize(
    ("platform", "environment", "expected"),
    [
        ("linux", {}, "/home/ann/.cache/embedge"),
        ("linux", {"XDG_CACHE_HOME": "/var/cache/ann"}, "/var/cache/ann/embedge"),
        ("linux", {"XDG_CACHE_HOME": ""}, "/home/ann/.cache/embedge"),
        ("linux", {"XDG_CACHE_HOME": "relative"}, "/home/ann/.cache/embedge"),
        ("freebsd14", {}, "/home/ann/.cache/embedge"),
        ("darwin", {"XDG_CACHE_HOME": "/var/cache/ann"}, "/home/ann/Library/Caches/embedge"),
        ("win32", {"LOCALAPPDATA": "/appdata"}, "/appdata/embedge"),
        ("win32", {}, "/home/ann/AppData/Local/embedge"),
    ],
)
def test_the_store_is_in_the_platforms_cache_directory(
    platform: str, environment: dict[str, str], expected: str
) -> None:
    assert store.cache(platform, environment, "/home/ann") == Path(expected)


def test_a_user_without_a_home_directory_has_no_cache() -> None:
    assert store.cache("linux", {}, "~") is None
    assert store.cache("linux", {"XDG_CACHE_HOME": "/var/cache"}, "~") == Path("/var/cache/embedge")


def test_the_environment_sets_another_place(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    places = {"": tmp_path / "cache" / "embedge", "/srv/models": Path("/srv/models"), "here": tmp_path / "here"}
    if sys.platform == "linux":
        for chosen, expected in places.items():
            monkeypatch.setenv("EMBEDGE_HOME", chosen)
            assert store.home() == expected
        monkeypatch.setenv("EMBEDGE_HOME", "~nobody-of-this-name/models")
        assert store.home() == tmp_path / "~nobody-of-this-name" / "models"
        monkeypatch.setenv("HOME", str(tmp_path))
        monkeypatch.setenv("EMBEDGE_HOME", "~/models")
        assert store.home() == tmp_path / "models"


def test_without_any_place_the_message_names_the_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("EMBEDGE_HOME", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", "relative")
    with pytest.raises(BundleError, match=r"no bundle at some/model, and there is no home .+ EMBEDGE_HOME"):
        Bundle.open("some/model")


# Finding


def test_everything_that_takes_a_path_takes_a_name(place: Path) -> None:
    assert Bundle.open("BAAI/bge-small-en").path == place / "BAAI" / "bge-small-en"
    with Embedder.load("BAAI/bge-small-en") as model:
        assert model.embed(["a text"]).shape == (1, 16)
    assert all(check.passed for check in verify("BAAI/bge-small-en"))


def test_capitals_do_not_matter_unless_two_names_differ_by_them_only(place: Path, tiny: Path) -> None:
    assert store.find("baai/BGE-small-en").name == "bge-small-en"
    assert store.place("baai/bge-small-en") == place / "BAAI" / "bge-small-en"
    if not (place / "baai").exists():  # where the disk tells them apart
        shutil.copytree(tiny, place / "baai" / "bge-small-en")
        assert store.find("baai/bge-small-en").parent.name == "baai"
        assert store.find("BAAI/bge-small-en").parent.name == "BAAI"


def test_what_exists_is_a_path(place: Path, tiny: Path) -> None:
    shutil.copytree(tiny, Path("BAAI", "bge-small-en"))
    assert Bundle.open("BAAI/bge-small-en").path == Path("BAAI/bge-small-en")


@pytest.mark.parametrize(
    "path",
    [Path("BAAI/bge-small-en"), "./BAAI/bge-small-en", "/BAAI/bge-small-en", "BAAI/bge-small-en/", "~/bge", "C:\\x\\y"],
)
def test_what_looks_like_a_path_is_not_looked_up(place: Path, path: str | Path) -> None:
    assert store.find(path) == Path(path)
    with pytest.raises(BundleError, match="it is not a directory"):
        Bundle.open(path)


def test_an_empty_path_is_not_the_working_directory(place: Path, tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tiny)
    with pytest.raises(BundleError, match="the path of the bundle is empty"):
        Embedder.load("")


def test_a_name_that_is_not_there_gives_the_command_and_what_is_there(place: Path) -> None:
    message = f"no bundle at BAAI/bge-base-en, and none of that name in {place}, which has BAAI/bge-small-en; "
    with pytest.raises(BundleError, match=re.escape(message + "make one with `embedge export BAAI/bge-base-en`")):
        Bundle.open("BAAI/bge-base-en")


def test_the_nearest_of_many_names_are_listed_first(place: Path, tiny: Path) -> None:
    for name in ("a/one", "b/two", "c/three", "d/four", "e/five", "sentence-transformers/all-MiniLM-L6-v2"):
        shutil.copytree(tiny, place / name)
    with pytest.raises(BundleError, match=r"which has sentence-transformers/all-MiniLM-L6-v2, .+ and 2 more"):
        Bundle.open("all-minilm-l6-v2")
    with pytest.raises(BundleError, match="which has BAAI/bge-small-en, "):
        Bundle.open("bge-small-en")


def test_a_path_costs_no_import() -> None:
    """Beside what opening a bundle needs anyway."""
    code = """
import sys
import embedge.manifest, embedge.stamps, collections.abc
before = set(sys.modules)
from embedge import store
store.find("/nowhere")
print(sorted(set(sys.modules) - before))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "['embedge.store']"


# Names


@pytest.mark.parametrize(
    "name",
    [
        *(
            "",
            ".",
            "..",
            "/",
            "a",
            "a/",
            "/a",
            "a/b/c",
            "../a",
            "a/..",
            "a/../b",
            "/etc/passwd",
            "a//b",
            ".a/b",
            "a/.b",
        ),
        *("a\\b/c", "C:/x", "a/b\n", "a/b\0", "a b/c", "a/b.", "~/a", "-a/b", "a/" + "b" * 97, "con/a", "a/NUL.txt"),
        *("ä/b", "a/.b"),
    ],
)
def test_what_could_lead_out_of_the_store_is_no_name(place: Path, name: str) -> None:
    with pytest.raises(BundleError, match=r"is not a name of the form OWNER/NAME|can't be the name of"):
        store.place(name)
    with pytest.raises(BundleError):
        store.remove(name)


def test_other_files_in_the_store_are_no_bundles(place: Path) -> None:
    (place / "me" / "notes").mkdir(parents=True)
    (place / "me" / "notes" / "thesis.txt").touch()
    (place / "me" / "empty").mkdir()
    (place / "me" / "file").touch()
    (place / "me" / "json").mkdir()
    (place / "me" / "json" / "manifest.json").write_text("{}")
    (place / "me" / "json" / "index.js").touch()
    (place / "me" / "app").mkdir()
    (place / "me" / "app" / "manifest.json").write_text("{}")
    (place / "me" / "tokenizer").mkdir()
    (place / "me" / "tokenizer" / "tokenizer.json").write_text("{}")
    shutil.copytree(place / "BAAI" / "bge-small-en", place / "me" / ".hidden.partial")
    assert store.names() == ["BAAI/bge-small-en"]
    for name in ("me/notes", "me/empty", "me/file", "me/json", "me/app", "me/tokenizer"):
        with pytest.raises(BundleError, match="no bundle"):
            store.remove(name)
        assert (place / name).exists()


# Removing


def test_a_removed_bundle_is_gone_with_its_owners_empty_directory(place: Path, tiny: Path) -> None:
    shutil.copytree(tiny, place / "BAAI" / "other")
    assert store.remove("BAAI/other") == sum(path.stat().st_size for path in tiny.iterdir())
    assert listing(place / "BAAI") == ["bge-small-en"]
    store.remove("BAAI/bge-small-en")
    assert listing(place) == []


def test_a_link_is_removed_and_not_what_it_leads_to(place: Path, tiny: Path) -> None:
    (place / "BAAI" / "link").symlink_to(tiny)
    assert store.remove("BAAI/link") == 0
    assert listing(place / "BAAI") == ["bge-small-en"]
    Bundle.open(tiny)


def test_a_link_in_place_of_the_owner_is_not_followed(place: Path, tiny: Path, tmp_path: Path) -> None:
    shutil.copytree(tiny, tmp_path / "elsewhere" / "tiny")
    (place / "owner").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(BundleError, match="leads out of the store"):
        store.remove("owner/tiny")
    Bundle.open(tmp_path / "elsewhere" / "tiny")


@pytest.mark.parametrize("name", ["README.md", ".git"])
def test_a_bundle_with_other_files_beside_its_own_is_not_removed(place: Path, name: str) -> None:
    bundle = place / "BAAI" / "bge-small-en"
    (bundle / name).mkdir() if name == ".git" else (bundle / name).write_text("mine")
    before = listing(bundle)
    assert store.names() == ["BAAI/bge-small-en"]
    with pytest.raises(BundleError, match=f"bge-small-en has {name}, which is no file of a bundle"):
        store.remove("BAAI/bge-small-en")
    assert listing(bundle) == before


def test_a_removal_does_not_fail_by_what_others_have_left(place: Path, tiny: Path, tmp_path: Path) -> None:
    (place / "BAAI" / ".x.0123abcd.removed").symlink_to(tmp_path)
    assert store.remove("BAAI/bge-small-en") == sum(path.stat().st_size for path in tiny.iterdir())
    assert store.names() == []


def test_an_interrupted_removal_leaves_no_half_bundle(place: Path, tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(path: Any) -> None:
        (path / "manifest.json").unlink()
        raise KeyboardInterrupt

    shutil.copytree(tiny, place / "BAAI" / "other")
    with monkeypatch.context() as patch:
        patch.setattr(shutil, "rmtree", interrupt)
        with pytest.raises(KeyboardInterrupt):
            store.remove("BAAI/other")
    assert store.names() == ["BAAI/bge-small-en"]
    assert len(listing(place / "BAAI")) == 2
    store.remove("BAAI/bge-small-en")
    assert listing(place) == []


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="root may delete everything")
def test_a_bundle_that_can_not_be_deleted_stays(place: Path) -> None:
    (place / "BAAI").chmod(0o500)
    try:
        with pytest.raises(BundleError, match="can't be deleted: Permission denied"):
            store.remove("BAAI/bge-small-en")
        Bundle.open("BAAI/bge-small-en")
    finally:
        (place / "BAAI").chmod(0o700)
