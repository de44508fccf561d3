"""``embedge embed`` as a user meets it."""

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from embedge import Embedder
from tests.cases import MakeCheckpoint, run_script
from tests.cli.running import EMBEDGE, Cli, lines_of, process


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


def test_truncation_is_told_also_where_a_later_line_fails(bundle: Path) -> None:
    lines = [b"long " * 600, *[b"short"] * 2000, b"b\xe9b\xe9"]
    done = process("embed", "--model", bundle, input=b"\n".join(lines))
    assert done.returncode == 1
    warning, error = done.stderr.splitlines()
    assert warning.startswith(b"embedge: warning: 1 text was truncated")
    assert error.startswith(b"embedge: error: standard input, line 2002: not UTF-8")


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="makes a process of another user")
def test_an_out_in_a_directory_that_is_not_writable_is_told_before_the_work(tmp_path: Path) -> None:
    code = """
import locale, math, os, platform, shutil, sys  # what users without rights here may not read later
import embedge.cli.embed
from embedge.cli import main

if os.getuid() == 0:  # who may write everywhere
    os.setuid(65534)
sys.exit(main(["embed", "--model", "nowhere", "--out", "/x.npy", "text"]))
"""
    done = run_script(code)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "embedge: error: --out /x.npy: the directory / can't be written to\n"


def test_truncation_can_be_an_error_that_names_the_text(cli: Cli, bundle: Path) -> None:
    assert "texts[1]" in cli.error("embed", "--model", bundle, "--on-overflow", "error", "short", "long " * 600)


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
