"""One line on standard error that tells how far a long call has come."""

import sys
import time
from types import TracebackType


class Progress:
    """``with Progress(total, shown=True) as line: line.advance(n)``; the line is wiped when the block ends."""

    def __init__(self, total: int, *, shown: bool) -> None:
        """Of ``total`` texts."""
        self._total = total
        self._shown = shown
        self._done = 0
        self._start = time.monotonic()

    def advance(self, count: int) -> None:
        """``count`` more texts are done."""
        self._done += count
        if self._shown:
            rate = self._done / max(1e-9, time.monotonic() - self._start)
            sys.stderr.write(f"\r\x1b[K{self._done}/{self._total} texts, {rate:.0f}/s")
            sys.stderr.flush()

    def __enter__(self) -> "Progress":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._shown:
            sys.stderr.write("\r\x1b[K")
            sys.stderr.flush()
