"""Exports that are killed, told to end, or interrupted leave a whole bundle or none."""

import contextlib
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from embedge import Bundle
from tests.cases import listing

STEPS = ("reading", "quantizing", "writing", "comparing fp32", "comparing int8", "checking")
"""What the lines that an export writes before each step begin with."""


def export_and_signal(
    checkpoint: Path, out: Path, number: signal.Signals, step: str, delay: float, *options: str
) -> int:
    """The exit code of an export that gets a signal so many seconds after it has told of ``step``."""
    command = [
        sys.executable,
        "-m",
        "embedge",
        "export",
        str(checkpoint),
        str(out),
        "--query-prompt",
        "new: ",
        *options,
    ]
    # A job that a shell started in the background ignores Ctrl-C, and so would the export.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    finally:
        signal.signal(signal.SIGINT, before)
    with process:
        assert process.stderr
        assert any(f"s  {step}".encode() in line for line in process.stderr)
        time.sleep(delay)
        with contextlib.suppress(ProcessLookupError):
            process.send_signal(number)
        process.stderr.read()
    return process.returncode


def moments(seed: int) -> list[tuple[str, float]]:
    """``(step, seconds after its line)``: once in each step, and around the rename at the end."""
    draw = random.Random(seed)
    *steps, last = STEPS
    return [*((step, draw.uniform(0, 0.02)) for step in steps), (last, 0), (last, draw.uniform(0, 0.03)), (last, 0.2)]


@pytest.mark.skipif(sys.platform == "win32", reason="no signals")
def test_an_export_that_is_killed_leaves_a_whole_bundle_or_none(tiny_checkpoint: Path, tmp_path: Path) -> None:
    for number, (step, delay) in enumerate(moments(1)):
        out = tmp_path / str(number)
        code = export_and_signal(tiny_checkpoint, out, signal.SIGKILL, step, delay)
        assert code in (-signal.SIGKILL, 0)
        if out.exists():
            Bundle.open(out).verify()
        assert out.exists() or code != 0
    left = [name for name in listing(tmp_path) if not name.isdigit()]
    assert left
    assert all(name.startswith(".") and name.endswith(".partial") for name in left)


@pytest.mark.skipif(sys.platform == "win32", reason="no signals")
def test_an_export_of_the_trained_model_that_is_killed_leaves_no_bundle(minilm: Path, tmp_path: Path) -> None:
    assert export_and_signal(minilm, tmp_path / "out", signal.SIGKILL, "quantizing", 0.5) == -signal.SIGKILL
    assert not (tmp_path / "out").exists()


@pytest.mark.skipif(sys.platform == "win32", reason="no signals")
@pytest.mark.parametrize(("number", "expected"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_an_export_that_is_told_to_end_removes_what_it_wrote(
    tiny_checkpoint: Path, tmp_path: Path, number: signal.Signals, expected: int
) -> None:
    for step, delay in moments(number)[number == signal.SIGINT :: 2]:
        code = export_and_signal(tiny_checkpoint, tmp_path / "out", number, step, delay)
        if (tmp_path / "out").exists():
            Bundle.open(tmp_path / "out").verify()
            assert listing(tmp_path) == ["out"]
            shutil.rmtree(tmp_path / "out")
        else:
            assert code == expected
            assert listing(tmp_path) == []


@pytest.mark.skipif(sys.platform == "win32", reason="no signals")
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_forced_export_that_is_killed_keeps_the_old_bundle_or_has_the_new_one(
    tiny_checkpoint: Path, copy: Path, number: signal.Signals
) -> None:
    for step, delay in [("quantizing", 0.01), ("comparing fp32", 0.02), ("checking", 0.0), ("checking", 0.02)]:
        code = export_and_signal(tiny_checkpoint, copy, number, step, delay, "--force")
        bundle = Bundle.open(copy)
        bundle.verify()
        assert bundle.manifest.prompts["query"] in ("old: ", "new: ")
        if step != "checking":
            assert bundle.manifest.prompts["query"] == "old: "
        if code == 0:
            assert bundle.manifest.prompts["query"] == "new: "
        if number != signal.SIGKILL:
            assert listing(copy.parent) == ["copy"]
