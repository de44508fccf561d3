"""Two columns on a terminal, and lines that fit on one."""

import shutil
import sys
from collections.abc import Sequence


def print_table(rows: Sequence[tuple[str, str]]) -> None:
    """Names on the left, padded to one width; an empty name continues the row above."""
    width = max(len(name) for name, _ in rows)
    for name, text in rows:
        print(f"{name:<{width}}  {text}")


def shorten(line: str) -> str:
    """The line as it is, or as much of it as the terminal is wide."""
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else 0
    return line if not width or len(line) <= width else line[: width - 1] + "…"
