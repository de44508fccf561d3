"""The program itself: version, help, usage, and standard streams that are closed, full or not UTF-8."""

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import embedge
from tests.cases import ROOT
from tests.cli.running import EMBEDGE, Cli, process

COMMANDS = ("export", "embed", "search", "verify", "info", "doctor")


def test_the_script_tells_its_version() -> None:
    script = shutil.which("embedge", path=Path(sys.executable).parent)
    assert script
    assert (
        subprocess.run([script, "--version"], capture_output=True).stdout.decode() == f"embedge {embedge.__version__}\n"
    )


def test_python_dash_m_tells_its_version() -> None:
    done = process("--version")
    assert (done.returncode, done.stdout.decode()) == (0, f"embedge {embedge.__version__}\n")


@pytest.mark.parametrize("command", COMMANDS)
def test_each_command_has_help(cli: Cli, command: str) -> None:
    assert cli(command, "--help") == 0
    assert f"usage: embedge {command}" in cli.out


@pytest.mark.parametrize("command", COMMANDS)
def test_each_command_is_in_the_readme(command: str) -> None:
    assert f"embedge {command}" in (ROOT / "README.md").read_text(encoding="utf-8")


def test_help_lists_exactly_these_commands(cli: Cli) -> None:
    assert cli("--help") == 0
    assert tuple(re.findall(r"^    (\w+) ", cli.out, re.MULTILINE)) == COMMANDS


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["embde"],
        ["embed", "--no-such-option"],
        ["embed", "--threads", "0", "text"],
        ["embed", "--dimensions", "many", "text"],
        ["embed", "text", "--file", "texts.txt"],
        ["embed", "text", "--query", "--prompt", "other: "],
        ["search", "query"],
        ["search", "query", "file", "--top", "0"],
        ["export", "source"],
        ["export", "source", "out", "--pooling", "max"],
    ],
    ids=" ".join,
)
def test_wrong_usage_exits_with_2_and_tells_the_usage(cli: Cli, arguments: list[str]) -> None:
    assert cli(*arguments) == 2
    assert cli.out == ""
    assert cli.err.startswith("usage: embedge")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
@pytest.mark.parametrize("command", ["embed", "info"])
def test_a_full_disk_behind_standard_output_is_one_line(bundle: Path, command: str) -> None:
    arguments = ["embed", "--model", str(bundle), "text"] if command == "embed" else ["info", str(bundle)]
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run([*EMBEDGE, *arguments], stdout=full, stderr=subprocess.PIPE, env=environment)
    assert re.fullmatch(rb"embedge: error: [^\n]*No space left on device[^\n]*\n", done.stderr)
    assert done.returncode == 1


@pytest.mark.skipif(os.name == "nt", reason="needs a Unix shell")
def test_a_closed_standard_input_is_no_traceback(bundle: Path) -> None:
    shell = ["sh", "-c", 'exec "$@" <&-', "sh", *EMBEDGE, "embed", "--model", str(bundle)]
    done = subprocess.run(shell, capture_output=True)
    assert (done.returncode, done.stdout) == (1, b"")
    assert done.stderr == b"embedge: error: standard input is closed; give texts as arguments, or --file\n"


def test_a_closed_standard_error_does_not_stop_the_work(bundle: Path, tmp_path: Path) -> None:
    command = shlex.join([*map(str, EMBEDGE), "embed", "--model", str(bundle), "--out", str(tmp_path / "x.npy"), "hi"])
    assert subprocess.run(["sh", "-c", f"{command} 2>&-"], timeout=60).returncode == 0
    assert (tmp_path / "x.npy").is_file()


def test_errors_do_not_land_in_the_output_when_standard_error_is_closed() -> None:
    command = shlex.join([*map(str, EMBEDGE), "info", "nowhere"])
    done = subprocess.run(["sh", "-c", f"{command} 2>&-"], stdout=subprocess.PIPE, timeout=60)
    assert (done.returncode, done.stdout) == (1, b"")


def test_a_terminal_without_utf8_gets_escapes(bundle: Path, tmp_path: Path) -> None:
    (tmp_path / "text.txt").write_text("Öland is an island.", encoding="utf-8")
    environment = {**os.environ, "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    command = [*EMBEDGE, "search", "--model", str(bundle), "island", str(tmp_path / "text.txt")]
    done = subprocess.run(command, env=environment, capture_output=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, b"")
    assert rb"\xd6land" in done.stdout
