"""npm run build: what it refuses, and what its page consists of."""

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from benchmarks.edge.static_site import PROGRAM, build_page
from benchmarks.speed.environments import Unavailable
from tests.browser.conftest import Build
from tests.damage import flip, reseal

SCRIPTS = sorted(path.name for path in [*PROGRAM.glob("*.js"), *PROGRAM.glob("*.mjs")])


@pytest.mark.skipif(not shutil.which("node"), reason="there is no node on this machine")
@pytest.mark.parametrize("script", SCRIPTS)
def test_every_script_is_one(script: str) -> None:
    subprocess.run(["node", "--check", PROGRAM / script], check=True)


def test_the_page_has_what_its_bundle_needs_in_a_browser_and_no_more(tiny_page: Path, tiny: Path) -> None:
    files = {path.name for path in (tiny_page / "bundle").iterdir()}
    assert files == {"manifest.json", "tokenizer.json", "model.int8.onnx", "model.int8.bin"}
    assert all((tiny_page / "bundle" / name).read_bytes() == (tiny / name).read_bytes() for name in files)
    program = json.loads((tiny_page / "program.js").read_text().removeprefix("const PROGRAM = ").rstrip(";\n"))
    others = {path.relative_to(tiny_page).as_posix() for path in tiny_page.rglob("*") if path.is_file()}
    assert set(program["files"]) == {
        name for name in others if not name.startswith("bundle/") and name not in ("program.js", "service-worker.js")
    }


def test_a_bundle_for_gpus_only_is_refused(build: Build, copy: Path) -> None:
    def for_cuda(fields: dict[str, Any]) -> None:
        for variant in fields["variants"].values():
            variant["devices"] = ["cuda"]

    reseal(copy, for_cuda)
    with pytest.raises(Unavailable, match=r"None of the bundle's variants \(int8 and fp32\) runs in a browser"):
        build(copy)


def test_a_bundle_that_names_files_outside_of_it_is_refused(build: Build, copy: Path) -> None:
    """Which would be published, or written beside the page."""

    def name_another(fields: dict[str, Any]) -> None:
        fields["variants"]["fp32"]["weights"] = "../secret.txt"

    reseal(copy, name_another)
    with pytest.raises(Unavailable, match=r'names "../secret.txt": a file of a bundle lies in the bundle itself'):
        build(copy)


def test_a_bundle_whose_manifest_lacks_something_is_refused(build: Build, copy: Path) -> None:
    reseal(copy, lambda fields: fields.pop("prompts"))
    with pytest.raises(Unavailable, match=r"manifest.json has no prompts; export the checkpoint again"):
        build(copy)


def test_a_damaged_file_is_found_before_it_is_published(build: Build, copy: Path) -> None:
    flip(copy / "model.int8.bin", 7, 0)
    with pytest.raises(Unavailable, match=r"model.int8.bin is damaged"):
        build(copy)


def test_of_a_bundle_of_links_the_files_are_published(build: Build, tiny: Path, tmp_path: Path) -> None:
    for path in tiny.iterdir():
        (tmp_path / path.name).symlink_to(path)
    assert not [path.name for path in (build(tmp_path) / "bundle").iterdir() if path.is_symlink()]


@pytest.mark.skipif(not shutil.which("node"), reason="there is no node on this machine")
@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        ([], 2, "usage: npm run build -- BUNDLE"),
        (["--help"], 2, "usage: npm run build -- BUNDLE"),
        (["BUNDLE", "OUT", "more"], 2, "usage: npm run build -- BUNDLE"),
        (["OUT"], 1, "is no bundle: it has no manifest.json"),
        (["BUNDLE", "OUT"], 1, "the packages are not installed; run npm ci in"),
    ],
)
def test_wrong_calls_say_what_is_wrong(
    arguments: list[str], status: int, message: str, tiny: Path, tmp_path: Path
) -> None:
    for name in ("build.mjs", "bundle.js", "package.json"):
        shutil.copy(PROGRAM / name, tmp_path)
    named = {"BUNDLE": str(tiny), "OUT": str(tmp_path / "out")}
    command = ["node", str(tmp_path / "build.mjs"), *(named.get(argument, argument) for argument in arguments)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.returncode, message in done.stderr) == (status, True), done.stderr
    assert not list(tmp_path.glob("out*"))


def test_a_page_takes_the_place_of_an_older_one(build: Build, tiny: Path, tmp_path: Path) -> None:
    (tmp_path / "dist").mkdir()
    for name in ("program.js", "left.txt"):
        (tmp_path / "dist" / name).touch()
    build_page(tiny, tmp_path / "dist")
    assert (tmp_path / "dist" / "index.html").is_file()
    assert not (tmp_path / "dist" / "left.txt").exists()
    assert [path.name for path in tmp_path.iterdir()] == ["dist"]


def test_a_directory_of_something_else_is_left_alone(build: Build, tiny: Path, tmp_path: Path) -> None:
    (tmp_path / "letters").mkdir()
    (tmp_path / "letters" / "one.txt").write_text("dear")
    with pytest.raises(Unavailable, match="name another directory"):
        build_page(tiny, tmp_path / "letters")
    assert (tmp_path / "letters" / "one.txt").read_text() == "dear"
    assert not list(tmp_path.glob("letters.*"))
