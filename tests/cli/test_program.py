"""The program itself: version, help, usage, and standard streams that are closed, full or not UTF-8."""

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import embedge
from embedge.cli import COMMANDS
from tests.cases import ROOT
from tests.cli.running import EMBEDGE, Cli, process


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
def test_each_command_is_documented(command: str) -> None:
    pages = [ROOT / "README.md", *(ROOT / "docs").glob("*.md")]
    assert any(f"embedge {command}" in page.read_text(encoding="utf-8") for page in pages)


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
        ["export"],
        ["info", "one", "--model", "other"],
        ["remove"],
        ["export", "source", "out", "--pooling", "median"],
    ],
    ids=" ".join,
)
def test_wrong_usage_exits_with_2_and_tells_the_usage(cli: Cli, arguments: list[str]) -> None:
    assert cli(*arguments) == 2
    assert cli.out == ""
    assert cli.err.startswith("usage: embedge")


needs_dev_full = pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
needs_shell = pytest.mark.skipif(os.name == "nt", reason="needs a Unix shell")


@needs_dev_full
@pytest.mark.parametrize("command", ["embed --model BUNDLE text", "info BUNDLE", "--version", "embed --help"])
def test_a_full_disk_behind_standard_output_is_one_line(bundle: Path, command: str) -> None:
    arguments = [str(bundle) if word == "BUNDLE" else word for word in command.split()]
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run([*EMBEDGE, *arguments], stdout=full, stderr=subprocess.PIPE, env=environment)
    assert re.fullmatch(rb"embedge: error: [^\n]*No space left on device[^\n]*\n", done.stderr)
    assert done.returncode == 1


@needs_shell
@pytest.mark.parametrize("command", ["search --model BUNDLE query FILE", "info BUNDLE", "--version", "embed --help"])
def test_a_closed_standard_output_is_one_line(bundle: Path, tmp_path: Path, command: str) -> None:
    (tmp_path / "notes.txt").write_text("A text.")
    words = {"BUNDLE": str(bundle), "FILE": str(tmp_path / "notes.txt")}
    arguments = [words.get(word, word) for word in command.split()]
    done = subprocess.run(["sh", "-c", 'exec "$@" >&-', "sh", *EMBEDGE, *arguments], capture_output=True, timeout=60)
    assert (done.returncode, done.stdout) == (1, b"")
    assert done.stderr == b"embedge: error: standard output is closed\n"


@needs_shell
def test_a_closed_standard_output_does_not_stop_work_that_prints_nothing(bundle: Path, tmp_path: Path) -> None:
    arguments = [*EMBEDGE, "embed", "--model", str(bundle), "--out", str(tmp_path / "x.npy"), "text"]
    done = subprocess.run(["sh", "-c", 'exec "$@" >&-', "sh", *arguments], capture_output=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, b"")
    assert np.load(tmp_path / "x.npy").shape == (1, 384)


@needs_shell
def test_a_closed_standard_input_is_no_traceback(bundle: Path) -> None:
    shell = ["sh", "-c", 'exec "$@" <&-', "sh", *EMBEDGE, "embed", "--model", str(bundle)]
    done = subprocess.run(shell, capture_output=True)
    assert (done.returncode, done.stdout) == (1, b"")
    assert done.stderr == b"embedge: error: standard input is closed; give texts as arguments, or --file\n"


def test_a_closed_standard_error_does_not_stop_the_work(bundle: Path, tmp_path: Path) -> None:
    command = shlex.join([*map(str, EMBEDGE), "embed", "--model", str(bundle), "--out", str(tmp_path / "x.npy"), "hi"])
    assert subprocess.run(["sh", "-c", f"{command} 2>&-"], timeout=60).returncode == 0
    assert (tmp_path / "x.npy").is_file()


@pytest.mark.parametrize(("command", "code"), [("info nowhere", 1), ("infro", 2)])
def test_errors_do_not_land_in_the_output_when_standard_error_is_closed(command: str, code: int) -> None:
    command = shlex.join([*map(str, EMBEDGE), *command.split()])
    done = subprocess.run(["sh", "-c", f"{command} 2>&-"], stdout=subprocess.PIPE, timeout=60)
    assert (done.returncode, done.stdout) == (code, b"")


def test_a_terminal_without_utf8_gets_escapes(bundle: Path, tmp_path: Path) -> None:
    (tmp_path / "text.txt").write_text("Öland is an island.", encoding="utf-8")
    environment = {**os.environ, "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    command = [*EMBEDGE, "search", "--model", str(bundle), "island", str(tmp_path / "text.txt")]
    done = subprocess.run(command, env=environment, capture_output=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, b"")
    assert rb"\xd6land" in done.stdout


@pytest.mark.skipif(sys.platform != "linux", reason="limits of memory and threads are Linux's")
@pytest.mark.parametrize(("limit", "amount"), [("--as", 60_000_000), ("--nproc", 1)])
def test_too_little_memory_or_too_few_threads_are_one_line_of_ours(bundle: Path, limit: str, amount: int) -> None:
    """The libraries may print lines of their own before."""
    prlimit, setpriv = shutil.which("prlimit"), shutil.which("setpriv")
    if not (prlimit and setpriv):
        pytest.skip("no prlimit or setpriv")
    # A limit of processes does not bind root; the files it may read are to stay readable.
    keep = ["--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search"]
    as_other = [setpriv, "--reuid=65533", "--clear-groups", *keep] if os.geteuid() == 0 else []
    texts = ["a text"] * 40  # few need no thread
    done = subprocess.run(
        [*as_other, prlimit, f"{limit}={amount}", *EMBEDGE, "embed", "--model", str(bundle), *texts],
        env={**os.environ, "OPENBLAS_NUM_THREADS": "1", "RUST_BACKTRACE": "0"},
        capture_output=True,
        text=True,
        timeout=60,
    )
    if "setpriv:" in done.stderr:
        pytest.skip(done.stderr)
    assert (done.returncode, done.stdout) == (1, "")
    assert "Traceback" not in done.stderr
    assert [line for line in done.stderr.splitlines() if line.startswith("embedge: ")] == done.stderr.splitlines()[-1:]
    assert done.stderr.splitlines()[-1].startswith("embedge: error: ")
