"""What the README tells a reader to type works."""

import re
import shlex
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from embedge.cli import main
from tests import random_encoders
from tests.cases import ROOT, MakeCheckpoint

README = (ROOT / "README.md").read_text(encoding="utf-8")
SHELL = [
    line.partition("#")[0].strip()
    for block in re.findall(r"```sh\n(.*?)```", README, re.DOTALL)
    for line in block.splitlines()
]
COMMANDS = [line for line in SHELL if line.startswith("embedge ") and not line.startswith("embedge export")]
EXPORTS = [line for line in SHELL if line.startswith("embedge export")]


@pytest.fixture
def newcomer(tmp_path: Path, bundle: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory of a reader who has run `make demo`."""
    shutil.copytree(bundle, tmp_path / "models" / "all-minilm-l6-v2")
    (tmp_path / "examples").mkdir()
    shutil.copy(ROOT / "examples" / "passages.txt", tmp_path / "examples")
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("EMBEDGE_MODEL", raising=False)
    return tmp_path


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_runs(newcomer: Path, command: str) -> None:
    assert main(shlex.split(command)[1:]) == 0


def test_the_export_of_a_directory_runs(newcomer: Path, make_checkpoint: MakeCheckpoint) -> None:
    make_checkpoint("path/to/checkpoint")
    from_directory = [command for command in EXPORTS if "path/to/checkpoint" in command]
    assert from_directory
    for command in from_directory:
        assert main(shlex.split(command)[1:]) == 0


@pytest.mark.parity
@pytest.mark.filterwarnings("ignore")  # torch warns of its own future
def test_the_export_of_another_encoder_runs(newcomer: Path, passages: list[str]) -> None:
    random_encoders.write(newcomer / "path" / "to" / "mpnet", "mpnet", passages)
    traced = [command for command in EXPORTS if "path/to/mpnet" in command]
    assert traced
    for command in traced:
        assert main(shlex.split(command)[1:]) == 0


def test_the_python_example_runs(newcomer: Path) -> None:
    (example,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    done = subprocess.run([sys.executable, "-c", example], cwd=newcomer, capture_output=True, text=True, check=True)
    edge, bread = (float(number) for number in done.stdout.strip("[] \n").split())
    assert edge > bread


def test_every_make_target_exists_and_is_told() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    told = set(re.findall(r"\bmake ([a-z-]+)", "\n".join(re.findall(r"`[^`]*`|```sh.*?```", README, re.DOTALL))))
    assert told <= targets
    assert targets - {"clean"} <= told


@pytest.mark.parametrize("link", sorted(set(re.findall(r"\]\(([^)#]+)\)", README))))
def test_every_link_leads_to_a_file(link: str) -> None:
    assert link.startswith("http") or (ROOT / link).exists()


def test_ci_runs_the_readmes_own_commands() -> None:
    commands = re.findall(r"^make [\w-]+$", (ROOT / ".ci" / "run").read_text(), re.MULTILINE)
    assert {"make check", "make test", "make parity", "make quality", "make isa"} <= set(commands) <= set(SHELL)


def test_the_demo_ends_quietly_on_ctrl_c(newcomer: Path) -> None:
    """Once it runs: until Python has read the file, Python itself tells of the interrupt."""
    shutil.rmtree(newcomer / "models")
    command = [sys.executable, "-u", str(ROOT / "examples" / "demo.py")]
    with subprocess.Popen(command, cwd=newcomer, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as demo:
        assert demo.stdout
        assert demo.stdout.readline()
        demo.send_signal(signal.SIGINT)
        _, errors = demo.communicate(timeout=60)
    assert demo.returncode == 130
    assert "Traceback" not in errors
    assert not list(newcomer.glob("models/*"))
