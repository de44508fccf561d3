"""The program without a checkout: installed by pipx, run by uvx, and in one file that pex makes."""

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

import embedge
from tests.cases import ROOT
from tests.project.conftest import Distributions, skip_where_no_index

VERSION = f"embedge {embedge.__version__}\n"
PROGRAMS = Path(sys.executable).parent


def run(*command: object, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run away from the source tree, without the tests' own settings of Python."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    return subprocess.run(
        [str(part) for part in command], capture_output=True, text=True, cwd=cwd, env={**inherited, **environment}
    )


def test_pipx_installs_a_program(built: Distributions, tmp_path: Path) -> None:
    places = {"PIPX_HOME": str(tmp_path / "pipx"), "PIPX_BIN_DIR": str(tmp_path / "bin")}
    places["PIPX_MAN_DIR"] = str(tmp_path / "man")
    done = run(PROGRAMS / "pipx", "install", "--python", sys.executable, built.wheel, cwd=tmp_path, **places)
    skip_where_no_index(done)
    assert done.returncode == 0, done.stderr
    assert run(tmp_path / "bin" / "embedge", "--version", cwd=tmp_path).stdout == VERSION


def test_uvx_runs_it_without_an_installation(built: Distributions, bundle: Path, tmp_path: Path) -> None:
    text = ROOT / "examples" / "passages.txt"
    command = ["embedge", "search", "--model", bundle, "--top", "1", "why does bread dough rise?", text]
    done = run(PROGRAMS / "uvx", "--python", sys.executable, "--from", built.wheel, *command, cwd=tmp_path)
    skip_where_no_index(done)
    assert done.returncode == 0, done.stderr
    assert "Kneading aligns" in done.stdout


@pytest.fixture
def place() -> Iterator[Path]:
    """An empty directory with a short path: pex warns of one too long for a script's first line."""
    with tempfile.TemporaryDirectory() as name:
        yield Path(name).resolve()


def test_one_file_embeds_and_writes_where_it_is_told(
    built: Distributions, bundle: Path, tmp_path: Path, place: Path
) -> None:
    """Made as docs/install.md says. It is one test, since making the file takes 8 s, and unpacking it 2 s."""
    file = tmp_path / "embedge.pyz"
    command = [built.wheel, "--console-script", "embedge", "--venv", "--output-file", file]
    done = run(PROGRAMS / "pex", *command, cwd=tmp_path)
    skip_where_no_index(done)
    assert done.returncode == 0, done.stderr
    command = [sys.executable, "-I", file, "embed", "--model", bundle, "A ferry crosses the harbour."]
    done = run(*command, cwd=place, PEX_ROOT="unpacked")
    assert (done.returncode, done.stderr) == (0, "")
    assert '"embedding"' in done.stdout
    assert [path.name for path in place.iterdir()] == ["unpacked"]
    assert run(sys.executable, file, "--version", cwd=place, PEX_ROOT="unpacked").stdout == VERSION
    done = run(sys.executable, file, "embed", "--model", "nowhere", "a", cwd=place, PEX_ROOT="unpacked")
    assert done.returncode == 1
    assert "nowhere" in done.stderr
