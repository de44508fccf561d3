"""The command line as a user meets it: what it prints, where, and with which exit code."""

import contextlib
import hashlib
import json
import os
import re
import select
import shlex
import shutil
import signal
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import embedge
from embedge import Embedder, ProviderError, fingerprint
from embedge.cli import main
from embedge.engine import capabilities
from tests.cases import FORMS, ROOT, MakeCheckpoint
from tests.hub import Hub, environment, serve

EMBEDGE: tuple[str, ...] = (sys.executable, "-m", "embedge")
COMMANDS = ("export", "embed", "search", "verify", "info", "doctor")
needs_signals = pytest.mark.skipif(os.name == "nt", reason="Windows has no such signals")


@pytest.fixture(autouse=True)
def process_state(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Puts back what ``main`` changes in its process, and hides the user's default model."""
    monkeypatch.delenv("EMBEDGE_MODEL", raising=False)
    handler = signal.getsignal(signal.SIGTERM)
    with warnings.catch_warnings():
        form = warnings.formatwarning
        yield
        warnings.formatwarning = form
    signal.signal(signal.SIGTERM, handler)


class Cli:
    """``cli(...)`` runs a command in this process; its outputs are then in ``out`` and ``err``."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys = capsys
        self.out = self.err = ""

    def __call__(self, *arguments: object) -> int:
        try:
            code = main([str(argument) for argument in arguments])
        except SystemExit as exc:
            code = int(exc.code or 0)
        self.out, self.err = self._capsys.readouterr()
        return code

    def error(self, *arguments: object) -> str:
        """The message of a command that fails, printed as one line and nothing else."""
        assert self(*arguments) == 1
        assert self.out == ""
        assert re.fullmatch(r"embedge: error: [^\n]+\n", self.err)
        return self.err


@pytest.fixture
def cli(capsys: pytest.CaptureFixture[str]) -> Cli:
    """The command line, in this process."""
    return Cli(capsys)


def process(*arguments: object, **options: Any) -> subprocess.CompletedProcess[Any]:
    """Run ``python -m embedge`` with nothing on standard input."""
    options = {"stdin": subprocess.DEVNULL, "timeout": 60, **options}
    if "input" in options:
        del options["stdin"]
    return subprocess.run([*EMBEDGE, *map(str, arguments)], capture_output=True, **options)


def lines_of(out: str | bytes) -> list[list[float]]:
    """Vectors of JSON Lines whose indices count from 0."""
    rows = [json.loads(line) for line in out.splitlines()]
    assert [row["index"] for row in rows] == list(range(len(rows)))
    return [row["embedding"] for row in rows]


# The program


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


# embed


def test_embed_prints_a_json_line_for_each_argument(cli: Cli, bundle: Path, model: Embedder) -> None:
    assert cli("embed", "--model", bundle, "one text", "", "Öland") == 0
    assert cli.err == ""
    assert np.array_equal(np.array(lines_of(cli.out), np.float32), model.embed(["one text", "", "Öland"]))


def test_embed_takes_the_lines_of_standard_input(bundle: Path, model: Embedder) -> None:
    done = process("embed", "--model", bundle, input="first\r\n\nÖland\nwithout an end".encode())
    assert (done.returncode, done.stderr) == (0, b"")
    expected = model.embed(["first", "", "Öland", "without an end"])
    assert np.array_equal(np.array(lines_of(done.stdout), np.float32), expected)


def test_embed_writes_the_same_array_as_the_library(
    cli: Cli, bundle: Path, model: Embedder, passages: list[str], tmp_path: Path
) -> None:
    (tmp_path / "texts.txt").write_text("\n".join(passages[:20]), encoding="utf-8")
    assert cli("embed", "--model", bundle, "--file", tmp_path / "texts.txt", "--out", tmp_path / "out.npy") == 0
    assert (cli.out, cli.err) == ("", "")
    array, expected = np.load(tmp_path / "out.npy"), model.embed(passages[:20])
    assert (array.dtype, array.tobytes()) == (expected.dtype, expected.tobytes())
    assert array.shape == expected.shape
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out.npy", "texts.txt"]


def test_embed_of_an_empty_file_writes_the_same_array_as_the_library(
    cli: Cli, bundle: Path, model: Embedder, tmp_path: Path
) -> None:
    (tmp_path / "empty.txt").touch()
    assert cli("embed", "--model", bundle, "--file", tmp_path / "empty.txt", "--out", tmp_path / "out.npy") == 0
    array, expected = np.load(tmp_path / "out.npy"), model.embed([])
    assert (array.shape, array.dtype) == (expected.shape, expected.dtype)


@pytest.mark.parametrize("dtype", ["float16", "int8", "binary"])
def test_embed_writes_other_dtypes_and_fewer_dimensions(
    cli: Cli, bundle: Path, model: Embedder, tmp_path: Path, dtype: Any
) -> None:
    options = ["--model", bundle, "--dtype", dtype, "--dimensions", "64"]
    expected = model.embed(["a text"], dtype=dtype, dimensions=64)
    assert cli("embed", *options, "--out", tmp_path / "out.npy", "a text") == 0
    array = np.load(tmp_path / "out.npy")
    assert array.dtype == expected.dtype
    assert np.array_equal(array, expected)
    assert cli("embed", *options, "a text") == 0
    assert np.array_equal(np.array(lines_of(cli.out), expected.dtype), expected)


def test_embed_query_uses_the_query_prompt(cli: Cli, make_checkpoint: MakeCheckpoint, tmp_path: Path) -> None:
    prompts = ["--query-prompt", "query: ", "--document-prompt", "passage: "]
    assert cli("export", make_checkpoint(), tmp_path / "prompted", *prompts) == 0
    with Embedder.load(tmp_path / "prompted") as model:
        query, document, other = model.embed_query("text"), model.embed(["text"]), model.embed(["text"], prompt="x: ")
    for options, expected in [(["--query"], query), ([], document[0]), (["--prompt", "x: "], other[0])]:
        assert cli("embed", "--model", tmp_path / "prompted", *options, "text") == 0
        assert np.array_equal(np.array(lines_of(cli.out)[0], np.float32), expected)


def test_embed_refuses_another_format_before_it_loads_anything(cli: Cli) -> None:
    assert "must end in .npy" in cli.error("embed", "--model", "nowhere", "--out", "vectors.csv", "text")


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--dimensions", "999"], "1 to 384"),
        (["--dimensions", "7", "--dtype", "binary"], "8 dimensions in a byte"),
        (["--variant", "int4"], "int8, fp32"),
        (["--model", "nowhere"], "no bundle at nowhere"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_an_option_that_the_bundle_does_not_have_is_told_in_one_line(
    cli: Cli, bundle: Path, options: list[str], told: str
) -> None:
    assert told in cli.error("embed", "--model", bundle, *options, "text")


def test_a_line_that_is_not_utf8_is_told_by_its_number(bundle: Path, tmp_path: Path) -> None:
    done = process("embed", "--model", bundle, "--out", tmp_path / "x.npy", input=b"good\nfine\nb\xe9b\xe9\nlast\n")
    assert (done.returncode, done.stdout) == (1, b"")
    assert re.fullmatch(rb"embedge: error: standard input, line 3: not UTF-8[^\n]*\n", done.stderr)
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_is_missing_is_told_in_one_line(cli: Cli, bundle: Path, tmp_path: Path) -> None:
    assert f"{tmp_path / 'none.txt'}: No such file" in cli.error(
        "embed", "--model", bundle, "--file", tmp_path / "none.txt"
    )


def test_an_out_in_a_missing_directory_is_told_by_that_name(cli: Cli, bundle: Path, tmp_path: Path) -> None:
    message = cli.error("embed", "--model", bundle, "--out", tmp_path / "none" / "x.npy", "text")
    assert str(tmp_path / "none") in message
    assert ".partial" not in message, "it names a file that the user has never heard of"
    assert "there is no directory" in message
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def tiny_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 16 kB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount, umount = shutil.which("mount"), shutil.which("umount")
    if not (mount and umount):
        pytest.skip("there is no mount")
    if subprocess.run([mount, "-t", "tmpfs", "-o", "size=16k", "tmpfs", disk], capture_output=True).returncode:
        pytest.skip("a file system can be mounted by root only")
    yield disk
    subprocess.run([umount, disk], check=True)


def test_a_full_disk_is_told_and_leaves_the_old_file(
    cli: Cli, bundle: Path, passages: list[str], tmp_path: Path, tiny_disk: Path
) -> None:
    (tmp_path / "texts.txt").write_text("\n".join(passage[:20] for passage in passages[:40]), encoding="utf-8")
    (tiny_disk / "x.npy").write_bytes(b"old")
    cli.error("embed", "--model", bundle, "--file", tmp_path / "texts.txt", "--out", tiny_disk / "x.npy")
    assert [path.name for path in tiny_disk.iterdir()] == ["x.npy"]
    assert (tiny_disk / "x.npy").read_bytes() == b"old"


def test_a_full_disk_is_told_as_such(
    cli: Cli, bundle: Path, passages: list[str], tmp_path: Path, tiny_disk: Path
) -> None:
    (tmp_path / "texts.txt").write_text("\n".join(passage[:20] for passage in passages[:40]), encoding="utf-8")
    message = cli.error("embed", "--model", bundle, "--file", tmp_path / "texts.txt", "--out", tiny_disk / "x.npy")
    assert "x.npy" in message or "No space left" in message


def test_truncation_is_one_line_of_warning_and_no_error(bundle: Path) -> None:
    done = process("embed", "--model", bundle, "long " * 600, "short", "long " * 700)
    assert done.returncode == 0
    assert len(lines_of(done.stdout)) == 3
    assert re.fullmatch(rb"embedge: warning: 2 texts were truncated[^\n]*\n", done.stderr)


def test_truncation_can_be_an_error_that_names_the_text(cli: Cli, bundle: Path) -> None:
    assert "texts[1]" in cli.error("embed", "--model", bundle, "--on-overflow", "error", "short", "long " * 600)


def test_a_closed_pipe_is_silent(bundle: Path, tmp_path: Path) -> None:
    (tmp_path / "texts.txt").write_text("text\n" * 300)
    command = [*EMBEDGE, "embed", "--model", str(bundle), "--file", str(tmp_path / "texts.txt")]
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment) as running:
        assert running.stdout
        assert running.stderr
        assert running.stdout.readline().startswith(b'{"index":0,')
        running.stdout.close()
        assert running.stderr.read() == b""
    assert running.returncode != 0


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


@needs_signals
@pytest.mark.parametrize(("number", "codes"), [(signal.SIGINT, (130, -2)), (signal.SIGTERM, (143, -15))])
def test_a_signal_ends_a_long_run_without_a_traceback(
    bundle: Path, tmp_path: Path, number: int, codes: tuple[int, ...]
) -> None:
    command = [*EMBEDGE, "embed", "--model", str(bundle), "--out", str(tmp_path / "x.npy")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as running:
        assert running.stdin
        # It takes texts 1024 at a time: once this many lines are through the pipe, it embeds the first of them.
        feeder = threading.Thread(target=feed, args=(running.stdin, b"A long line of words. " * 40 + b"\n", 2000))
        feeder.start()
        feeder.join(20)
        time.sleep(0.3)
        assert running.poll() is None
        running.send_signal(number)
        try:
            running.wait(20)
        finally:
            running.kill()
        assert running.stdout
        assert running.stderr
        told = running.stdout.read(), running.stderr.read()
        feeder.join()
    assert running.returncode in codes
    assert told == (b"", b"")
    assert list(tmp_path.iterdir()) == []


def feed(pipe: Any, line: bytes, count: int) -> None:
    """Write until the pipe has taken nothing for a while: its reader is busy then."""
    os.set_blocking(pipe.fileno(), False)
    data, sent = line * count, 0
    while sent < len(data) and select.select([], [pipe], [], 1.5)[1]:
        with contextlib.suppress(BlockingIOError, BrokenPipeError):
            sent += os.write(pipe.fileno(), data[sent : sent + 65536])


@pytest.mark.skipif(os.name == "nt", reason="Windows has no pseudo terminals")
def test_progress_is_shown_where_standard_error_is_a_terminal(bundle: Path, tmp_path: Path) -> None:
    import pty

    (tmp_path / "texts.txt").write_text("text\n" * 200)
    command = [*EMBEDGE, "embed", "--model", str(bundle), "--file", str(tmp_path / "texts.txt")]
    command += ["--out", str(tmp_path / "x.npy")]
    ours, theirs = pty.openpty()
    try:
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=theirs, timeout=60)
        shown = os.read(ours, 65536)
    finally:
        os.close(ours)
        os.close(theirs)
    assert (done.returncode, done.stdout) == (0, b"")
    assert b"200/200 texts" in shown
    assert shown.endswith(b"\r\x1b[K"), "the line is not wiped"


def test_no_progress_is_shown_elsewhere(cli: Cli, bundle: Path, tmp_path: Path) -> None:
    (tmp_path / "texts.txt").write_text("text\n" * 200)
    assert cli("embed", "--model", bundle, "--file", tmp_path / "texts.txt", "--out", tmp_path / "x.npy") == 0
    assert cli("search", "--model", bundle, "--top", "1", "query", tmp_path / "texts.txt") == 0
    assert cli.err == ""


# search


@pytest.fixture
def notes(tmp_path: Path) -> Path:
    """Passages about cooking, space and weather on lines 1, 4 and 8."""
    path = tmp_path / "notes.txt"
    path.write_text(
        "Butter and flour make a roux,\nwhich thickens a soup.\n\n"
        "Jupiter is the largest planet;\nit has many moons.\n \n\n"
        "Rain fell on the harbour all night.\n"
    )
    return path


@pytest.mark.parametrize("ending", ["\n", "\r\n", "\r"], ids=["unix", "windows", "mac"])
def test_search_prints_score_file_and_line_best_first(cli: Cli, bundle: Path, notes: Path, ending: str) -> None:
    notes.write_bytes(notes.read_text().replace("\n", ending).encode())
    assert cli("search", "--model", bundle, "how to cook a thick soup", notes) == 0
    found = [re.fullmatch(r"(-?\d\.\d{3})  (.+):(\d+)  (.+)", line) for line in cli.out.splitlines()]
    rows = [match.groups() for match in found if match]
    assert len(rows) == len(found) == 3
    assert rows[0][1:] == (str(notes), "1", "Butter and flour make a roux, which thickens a soup.")
    assert {row[2] for row in rows} == {"1", "4", "8"}
    scores = [float(row[0]) for row in rows]
    assert scores == sorted(scores, reverse=True)


def test_search_scores_are_the_cosines_of_the_library(cli: Cli, bundle: Path, notes: Path, model: Embedder) -> None:
    assert cli("search", "--model", bundle, "--json", "--top", "2", "planets and moons", notes) == 0
    rows = [json.loads(line) for line in cli.out.splitlines()]
    texts = [text.strip() for text in re.split(r"\n\s*\n", notes.read_text())]
    scores = model.embed(texts) @ model.embed_query("planets and moons")
    best = np.argsort(-scores)[:2]
    assert [row["text"] for row in rows] == [texts[index] for index in best]
    assert [row["score"] for row in rows] == [round(float(scores[index]), 4) for index in best]
    assert [(row["file"], row["line"]) for row in rows] == [(str(notes), (1, 4, 8)[index]) for index in best]


def test_search_splits_a_long_paragraph_at_sentences_and_tells_their_lines(
    cli: Cli, bundle: Path, tmp_path: Path
) -> None:
    sentences = [f"Sentence number {n} is about the weather at sea and the ships of the harbour." for n in range(60)]
    sentences[45] = "Butter and flour make a roux, which thickens a soup."
    text = tmp_path / "long.txt"
    text.write_text("\n\n" + "\n".join(sentences) + "\n")
    assert cli("search", "--model", bundle, "--json", "--top", "99", "cooking a soup", text) == 0
    rows = sorted((json.loads(line) for line in cli.out.splitlines()), key=lambda row: row["line"])
    assert len(rows) > 3
    assert max(len(row["text"]) for row in rows) <= 1000
    assert "\n".join(row["text"] for row in rows) == "\n".join(sentences)
    lines = text.read_text().splitlines()
    assert all(lines[row["line"] - 1] == row["text"].splitlines()[0] for row in rows)


def test_search_loses_no_character_of_a_long_line_without_sentences(cli: Cli, bundle: Path, tmp_path: Path) -> None:
    text = tmp_path / "line.txt"
    text.write_text("x" * 2500)
    assert cli("search", "--model", bundle, "--json", "x", text) == 0
    rows = [json.loads(line) for line in cli.out.splitlines()]
    assert sorted(len(row["text"]) for row in rows) == [500, 1000, 1000]
    assert {row["line"] for row in rows} == {1}


def test_search_names_the_file_of_each_match(cli: Cli, bundle: Path, notes: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.txt"
    other.write_text("Saturn has rings of ice.")
    assert cli("search", "--model", bundle, "--top", "2", "a planet", notes, other) == 0
    assert {f"{notes}:4", f"{other}:1"} == {line.split()[1] for line in cli.out.splitlines()}


@pytest.mark.parametrize(
    ("content", "told"), [(b"\x7fELF\0\0", "is not a text file"), (b" \n\n\t\n", "no text to search")]
)
def test_search_refuses_a_file_without_text(cli: Cli, tmp_path: Path, content: bytes, told: str) -> None:
    (tmp_path / "file").write_bytes(content)
    assert told in cli.error("search", "query", tmp_path / "file")


def test_search_of_a_directory_or_a_missing_file_is_told_in_one_line(cli: Cli, tmp_path: Path) -> None:
    assert f"{tmp_path}: Is a directory" in cli.error("search", "query", tmp_path)
    assert f"{tmp_path / 'none'}: No such file" in cli.error("search", "query", tmp_path / "none")


# verify, info, doctor


def test_verify_of_a_sound_bundle_exits_with_0(cli: Cli, bundle: Path) -> None:
    assert cli("verify", bundle) == 0
    assert "6 files have their sealed bytes" in cli.out
    for name in ("int8", "fp32"):
        assert re.search(rf"^{name} on cpu: vectors as sealed on .+, cosine 1\.0+ \(at least", cli.out, re.MULTILINE)


@pytest.mark.parametrize("name", ["tokenizer.json", "model.int8.onnx", "model.int8.bin", "manifest.json"])
def test_verify_names_the_file_in_which_a_byte_was_flipped(cli: Cli, bundle: Path, tmp_path: Path, name: str) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(bundle, copy)
    data = bytearray((copy / name).read_bytes())
    data[len(data) // 2] ^= 1
    (copy / name).write_bytes(data)
    assert cli("verify", copy) == 1
    assert str(copy / name) in cli.err
    assert cli.err.count("\n") == 1


def test_info_shows_what_the_bundle_is(cli: Cli, bundle: Path) -> None:
    assert cli("info", bundle) == 0
    rows = dict(re.findall(r"^(\S[\w ]*?)  +(.+)$", cli.out, re.MULTILINE))
    assert rows["bundle"] == str(bundle)
    assert rows["dimensions"] == "384"
    assert rows["longest input"] == "256 tokens"
    assert rows["pooling"] == "mean"
    assert rows["licence"] == "apache-2.0"
    assert {"int8", "fp32"} <= set(rows)
    assert rows["on this CPU"].startswith("int8")
    assert cli.out.count("cosine to") == 2


def test_info_json_is_the_manifest_without_its_fingerprint_vectors(cli: Cli, bundle: Path, model: Embedder) -> None:
    assert cli("info", "--json", bundle) == 0
    fields = json.loads(cli.out)
    assert fields["path"] == str(bundle)
    assert fields["source"]["id"] == model.manifest.source.id
    assert fields["files"]["tokenizer.json"]["sha256"] == model.manifest.files["tokenizer.json"].sha256
    assert list(fields["variants"]) == ["int8", "fp32"]
    assert all("fingerprint" not in measured for measured in fields["measured"]["variants"].values())


def test_doctor_needs_no_bundle(cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert cli("doctor") == 0
    assert re.search(r"^threads +\d+, from \w+", cli.out, re.MULTILINE)
    assert re.search(r"^telemetry +off$", cli.out, re.MULTILINE)
    assert re.search(r"^int8 products +\w+", cli.out, re.MULTILINE)
    assert re.search(r"^providers .*CPUExecutionProvider", cli.out, re.MULTILINE)
    assert re.search(r"^bundle +none: there is no bundle", cli.out, re.MULTILINE)


def test_doctor_tells_which_variant_of_a_bundle_it_runs(cli: Cli, bundle: Path) -> None:
    assert cli("doctor", bundle) == 0
    assert re.search(rf"^bundle +{re.escape(str(bundle))} ", cli.out, re.MULTILINE)
    assert re.search(r"^variant +int8", cli.out, re.MULTILINE)


@pytest.mark.parametrize(("form", "told"), [("signed", "int8"), ("unsigned", "int8, its weights taken as unsigned")])
def test_info_and_doctor_tell_how_the_weights_are_taken(
    cli: Cli, bundle: Path, monkeypatch: pytest.MonkeyPatch, form: str, told: str
) -> None:
    """What a CPU is found to be is replaced, since this one is of one kind."""
    monkeypatch.setattr(capabilities, "capabilities", lambda: FORMS[form])
    assert cli("info", bundle) == 0
    assert re.search(rf"^on this CPU +{told}$", cli.out, re.MULTILINE)
    assert cli("doctor", bundle) == 0
    assert re.search(rf"^variant +{told}$", cli.out, re.MULTILINE)
    products = {"signed": "exact with weights as they are stored", "unsigned": "those with signed weights overflow"}
    assert re.search(rf"^int8 products +{products[form]}", cli.out, re.MULTILINE)


def test_verify_names_a_variant_that_gives_other_vectors(
    cli: Cli, bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fingerprint, "cosine", lambda model: 0.9)
    assert cli("verify", bundle) == 1
    assert f"int8 of {bundle} gives other vectors here than where it was sealed: cosine 0.900000" in cli.err


def test_verify_fails_where_a_variant_fails_to_run(cli: Cli, bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> float:
        raise ProviderError("ONNX Runtime failed on 1 texts of 8 tokens")

    monkeypatch.setattr(fingerprint, "cosine", fail)
    assert cli("verify", bundle) == 1
    assert "ONNX Runtime failed" in cli.err


def test_doctor_of_a_bundle_that_is_not_there_exits_with_1(cli: Cli, tmp_path: Path) -> None:
    assert cli("doctor", tmp_path / "none") == 1
    assert f"no bundle at {tmp_path / 'none'}" in cli.err


# The default bundle


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


def test_two_bundles_under_models_are_told_by_name(cli: Cli, bundle: Path, place: Path) -> None:
    for name in ("mine", "yours"):
        (place / "models" / name).symlink_to(bundle)
    assert "2 bundles (mine, yours)" in cli.error("embed", "text")


# export


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


# export from a hub


def export_from(endpoint: str, model_id: str, directory: Path) -> subprocess.CompletedProcess[str]:
    """Export a hub's model to ``directory / "out"``; nothing but ``endpoint`` is asked, with a cache of its own."""
    return process("export", model_id, "out", cwd=directory, env=environment(endpoint, directory / "cache"), text=True)


@pytest.fixture
def stand_in_hub(make_checkpoint: MakeCheckpoint) -> Iterator[str]:
    """The address of a hub on this machine that has one small model under every id."""
    with serve(make_checkpoint("served")) as address:
        yield address


def test_a_stand_in_hub_serves_a_model_that_exports(stand_in_hub: str, cli: Cli, tmp_path: Path) -> None:
    done = export_from(stand_in_hub, "someone/model", tmp_path)
    assert done.returncode == 0, done.stderr
    assert cli("info", "--json", tmp_path / "out") == 0
    source = json.loads(cli.out)["source"]
    weights = (tmp_path / "served" / "model.safetensors").read_bytes()
    assert source == {
        "id": "someone/model",
        "revision": Hub.revision,
        "weights_sha256": hashlib.sha256(weights).hexdigest(),
        "license": None,
    }


def test_a_stand_in_hub_with_other_weights_for_bge_small_en_is_refused(stand_in_hub: str, tmp_path: Path) -> None:
    done = export_from(stand_in_hub, "BAAI/bge-small-en", tmp_path)
    assert (done.returncode, done.stdout) == (1, "")
    error = done.stderr.splitlines()[-1]
    assert "e3f93baaef0f082d01814223d65942241664d215849a5b76a95f9d390da379b6" in error
    assert "model.safetensors has sha256" in error
    assert sorted(path.name for path in tmp_path.iterdir()) == ["cache", "served"]


def test_a_stand_in_hub_that_has_no_such_model_is_told(stand_in_hub: str, tmp_path: Path) -> None:
    done = export_from(stand_in_hub, "no/model", tmp_path)
    assert done.returncode == 1
    assert "no such model on the hub" in done.stderr.splitlines()[-1]


def test_a_hub_that_can_not_be_reached_is_told_with_a_way_out(tmp_path: Path) -> None:
    done = export_from("http://127.0.0.1:9", "someone/model", tmp_path)
    assert (done.returncode, done.stdout) == (1, "")
    *steps, error = done.stderr.splitlines()
    assert len(steps) == 1
    assert error.startswith("embedge: error: someone/model can't be fetched")
    assert "give their directory" in error
    assert not (tmp_path / "out").exists()


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


@pytest.mark.parametrize("delay", [0.06, 0.1, 0.15, 0.25])
def test_ctrl_c_while_it_starts_is_no_traceback(bundle: Path, delay: float) -> None:
    """Before main runs, Python itself is starting and tells of the interrupt in its own way."""
    command = [*EMBEDGE, "embed", "--model", str(bundle), "text"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        time.sleep(delay)
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=60)
    if process.returncode in (0, 130):
        assert b"Traceback" not in errors
    else:
        assert b"embedge/__main__.py" not in errors
    assert b"ImportError" not in errors
