"""The command line, run in this process or in one of its own."""

import json
import os
import re
import signal
import subprocess
import sys
from typing import Any

import pytest

from embedge.cli import main

EMBEDGE: tuple[str, ...] = (sys.executable, "-m", "embedge")
needs_signals = pytest.mark.skipif(os.name == "nt", reason="Windows has no such signals")


def heed_ctrl_c() -> None:
    """For ``preexec_fn``: jobs that a shell started in the background ignore Ctrl-C, and so does what they start."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


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
