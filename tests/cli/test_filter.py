"""``embedge embed`` between pipes: lines are answered as they come, and what never ends is refused."""

import os
import subprocess
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from embedge import Embedder
from embedge.cli.reading import batches, open_input
from embedge.errors import InputError
from tests.cli.running import EMBEDGE, Cli, lines_of, process

BOM = b"\xef\xbb\xbf"


def test_a_slow_writer_reads_the_vector_of_a_line_before_it_writes_the_next(bundle: Path, model: Embedder) -> None:
    command = [*EMBEDGE, "embed", "--model", str(bundle)]
    answers = []
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0) as running:
        assert running.stdin
        assert running.stdout
        timer = threading.Timer(60, running.kill)  # or it would wait for ever
        timer.start()
        for text in (b"first\n", b"\n", b"third\r\n"):
            running.stdin.write(text)
            answers.append(running.stdout.readline())
        running.stdin.write(b"without an end")
        running.stdin.close()
        answers.append(running.stdout.readline())
        timer.cancel()
    expected = model.embed(["first", "", "third", "without an end"])
    assert np.array_equal(np.array(lines_of(b"".join(answers)), np.float32), expected)


def in_batches(data: bytes, *pauses: int) -> list[list[str]]:
    """What :func:`batches` makes of ``data`` from a pipe whose writer pauses after so many bytes."""
    reading, writing = os.pipe()

    def write() -> None:
        for start, end in zip([0, *pauses], [*pauses, len(data)], strict=True):
            time.sleep(0.2 if start else 0)
            for at in range(start, end, 1 << 15):
                os.write(writing, data[at : min(end, at + (1 << 15))])
        os.close(writing)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        with open_input(Path(f"/dev/fd/{reading}")) as source:
            return list(batches(source, "pipe"))
    finally:
        os.close(reading)
        writer.join()


def test_what_comes_together_is_embedded_together() -> None:
    assert in_batches(b"one\ntwo\nthree\nfour", 9) == [["one", "two"], ["three", "four"]]


def test_a_fast_writer_is_served_in_large_batches() -> None:
    lines = [f"line number {number}" for number in range(5000)]
    found = in_batches("\n".join(lines).encode())
    assert [line for batch in found for line in batch] == lines
    assert max(map(len, found)) == 1024
    assert len(found) < 20


def test_lines_that_are_longer_than_a_pipe_holds_stay_whole() -> None:
    lines = ["x" * 200_000, "y", "z" * 100_000]
    assert [line for batch in in_batches("\n".join(lines).encode()) for line in batch] == lines


@pytest.mark.parametrize("pause", [[], [1], [2], [3]])
def test_a_byte_order_mark_is_dropped_however_it_comes(pause: list[int]) -> None:
    data = BOM + b"one\n" + BOM + b"two\n"
    assert [line for batch in in_batches(data, *pause) for line in batch] == ["one", "\ufefftwo"]


def test_a_byte_order_mark_changes_no_vector(cli: Cli, bundle: Path, model: Embedder, tmp_path: Path) -> None:
    (tmp_path / "texts.txt").write_bytes(BOM + b"one\ntwo\n")
    expected = model.embed(["one", "two"])
    assert cli("embed", "--model", bundle, "--file", tmp_path / "texts.txt") == 0
    assert np.array_equal(np.array(lines_of(cli.out), np.float32), expected)
    done = process("embed", "--model", bundle, input=BOM + b"one\ntwo\n")
    assert np.array_equal(np.array(lines_of(done.stdout), np.float32), expected)


def test_the_lines_before_a_wrong_one_are_answered(bundle: Path) -> None:
    done = process("embed", "--model", bundle, input=b"good\nfine\nb\xe9b\xe9\nlast\n")
    assert done.returncode == 1
    assert len(lines_of(done.stdout)) == 2
    assert done.stderr.startswith(b"embedge: error: standard input, line 3: not UTF-8")


@pytest.mark.parametrize("where", ["beginning", "later"])
def test_a_line_that_is_too_long_is_named_by_its_number(cli: Cli, bundle: Path, tmp_path: Path, where: str) -> None:
    before = 0 if where == "beginning" else 1500
    (tmp_path / "texts.txt").write_text("short\n" * before + "long " * 600 + "\nshort\n")
    cli("embed", "--model", bundle, "--on-overflow", "error", "--file", tmp_path / "texts.txt")
    assert f"{tmp_path / 'texts.txt'}, line {before + 1} has 602 tokens" in cli.err
    assert "--on-overflow truncate" in cli.err


def test_truncated_lines_of_all_batches_are_one_warning(bundle: Path, tmp_path: Path) -> None:
    (tmp_path / "texts.txt").write_text(("long " * 600 + "\n") + "short\n" * 1200 + ("long " * 600 + "\n") * 2)
    done = process("embed", "--model", bundle, "--file", tmp_path / "texts.txt")
    assert done.returncode == 0
    assert done.stderr.startswith(b"embedge: warning: 3 texts were truncated to the model's 256 tokens")
    assert done.stderr.count(b"\n") == 1


@pytest.mark.parametrize("device", ["/dev/full", "/dev/zero"])
def test_a_device_that_never_ends_is_refused(cli: Cli, bundle: Path, device: str) -> None:
    if not Path(device).exists():
        pytest.skip(f"no {device} here")
    assert f"{device} is a device" in cli.error("embed", "--model", bundle, "--file", device)
    assert f"{device} is a device" in cli.error("search", "--model", bundle, "query", device)
    with Path(device).open("rb") as source:
        done = process("embed", "--model", bundle, stdin=source)
    assert done.returncode == 1
    assert done.stderr == b"embedge: error: standard input is a device; give a file or a pipe\n"


def test_a_line_without_an_end_is_refused() -> None:
    reading, writing = os.pipe()
    with subprocess.Popen(["cat", "/dev/zero"], stdout=writing) as endless:
        os.close(writing)
        with open_input(Path(f"/dev/fd/{reading}")) as source:
            os.close(reading)
            with pytest.raises(InputError, match="pipe, line 1: longer than 64 MB"):
                list(batches(source, "pipe"))
        endless.kill()


def test_the_null_device_is_empty_and_pipes_by_name_are_read(bundle: Path) -> None:
    script = '"$@" --file /dev/null && "$@" --file /dev/stdin && cat | "$@" --file /dev/fd/0'
    shell = ["sh", "-c", script, "sh", *EMBEDGE, "embed", "--model", str(bundle)]
    done = subprocess.run(shell, input=b"a text\n", capture_output=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, b"")
    assert len(lines_of(done.stdout)) == 1
