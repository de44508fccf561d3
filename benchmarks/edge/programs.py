"""Programs in other languages that embed: the time to their first vector, of a query after that, and their memory."""

import json
import os
import statistics
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

ROUNDS = 5
# Two, whose difference is what so many queries take: a program that reads its texts from the command line has no clock.
_FEW, _MANY = 1, 101


class Figures(NamedTuple):
    """The medians of some runs."""

    first_vector_s: float
    query_ms: float
    peak_mb: float


def measure_program(command: Sequence[str | Path]) -> Figures:
    """A program that prints a line at its first vector, then ``[milliseconds of a query, bytes of memory]``."""

    def once() -> Figures:
        started = time.monotonic()
        with subprocess.Popen(list(map(str, command)), stdout=subprocess.PIPE, text=True) as program:
            assert program.stdout
            program.stdout.readline()
            first = time.monotonic() - started
            query_ms, peak = json.loads(program.stdout.readline())
        return Figures(first, query_ms, peak / 1e6)

    return _medians(once)


def measure_command(program: Path, model: Path, text: str) -> Figures:
    """A program that takes texts as arguments and prints their vectors."""

    def once() -> Figures:
        few, _ = _embed([program, model, *[text] * _FEW])
        many, peak_mb = _embed([program, model, *[text] * _MANY])
        return Figures(few, (many - few) * 1000 / (_MANY - _FEW), peak_mb)

    return _medians(once)


def _embed(command: Sequence[str | Path]) -> tuple[float, float]:
    """Seconds until the first number is printed, and the most memory until then, in megabytes."""
    started = time.monotonic()
    with subprocess.Popen(list(map(str, command)), stdout=subprocess.PIPE) as program:
        assert program.stdout
        os.read(program.stdout.fileno(), 1)
        seconds = time.monotonic() - started
        # Of many vectors most do not fit into the pipe, so that the program is still there, and waits.
        status = Path(f"/proc/{program.pid}/status").read_text()
        program.stdout.read()
    peak = status.partition("VmHWM:")[2].split()
    return seconds, int(peak[0]) * 1024 / 1e6 if peak else 0.0


def _medians(once: Callable[[], Figures]) -> Figures:
    once()  # the files are in the cache from here on
    return Figures(*map(statistics.median, zip(*(once() for _ in range(ROUNDS)), strict=True)))


def megabytes(*paths: Path) -> float:
    """The size of files, and of all files in directories."""
    files = [file for path in paths for file in ([path] if path.is_file() else path.rglob("*")) if file.is_file()]
    return sum(file.stat().st_size for file in files) / 1e6
