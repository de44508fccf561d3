"""One line on standard error that shows how far a long call has come."""

import contextlib
import os
import sys
import time
from types import TracebackType


class Progress:
    """``with Progress(total, shown=True) as line: line.advance(n)``; the line is wiped when the block ends.

    Nothing is written where standard error is not a terminal, or one that has no control codes.
    """

    def __init__(self, total: int, *, shown: bool) -> None:
        """Of ``total`` texts."""
        self._total = total
        self._shown = shown and _on_terminal()
        self._done = 0
        self._start = time.monotonic()

    def advance(self, count: int) -> None:
        """``count`` more texts are done."""
        self._done += count
        rate = self._done / max(1e-9, time.monotonic() - self._start)
        self._write(f"\r\x1b[K{self._done}/{self._total} texts, {rate:.0f}/s")

    def __enter__(self) -> "Progress":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._write("\r\x1b[K")

    def _write(self, text: str) -> None:
        if self._shown:
            with contextlib.suppress(OSError, ValueError):  # a terminal that was closed meanwhile stops no work
                sys.stderr.write(text)
                sys.stderr.flush()


def _on_terminal() -> bool:
    # None in a program without a console; closed, or any object, where somebody put one.
    try:
        return sys.stderr.isatty() and os.environ.get("TERM") != "dumb"
    except (AttributeError, ValueError):
        return False
