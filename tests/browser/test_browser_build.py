"""npm run build: what it refuses, and what its page consists of."""

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from benchmarks.edge.static_site import PROGRAM
from benchmarks.speed.environments import Unavailable
from tests.browser.conftest import Build
from tests.damage import reseal

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


def test_a_directory_of_something_else_is_left_alone(tiny_page: Path, tiny: Path, tmp_path: Path) -> None:
    (tmp_path / "letters").mkdir()
    (tmp_path / "letters" / "one.txt").write_text("dear")
    command = ["node", str(PROGRAM / "build.mjs"), str(tiny), str(tmp_path / "letters")]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 1
    assert "name another directory" in done.stderr
    assert (tmp_path / "letters" / "one.txt").read_text() == "dear"
    assert not list(tmp_path.glob("letters.*"))
