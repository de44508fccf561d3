"""Standard output and standard error, which may be closed, full, or read by nobody any more."""

import contextlib
import io
import os
import sys
from typing import NoReturn, TextIO, cast

from embedge.errors import EmbedgeError


class _Closed(io.TextIOBase):
    """Stands for a standard output that is closed: whoever prints to it gets an error."""

    def write(self, text: str) -> NoReturn:
        raise EmbedgeError("standard output is closed")


def prepare() -> None:
    """Make the standard streams ones that can be written to, or that say why not."""
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            # A file that is opened later would get this number, and what libraries print would land in it.
            os.open(os.devnull, os.O_RDWR)
    if sys.stderr is None:  # print and argparse would take standard output in its place
        sys.stderr = open(2, "w", closefd=False)  # noqa: SIM115 - the null device, until the end
    if sys.stdout is None:
        sys.stdout = cast(TextIO, _Closed())
    elif isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # where the terminal's encoding is not UTF-8


def tell(message: str) -> None:
    """Print one line on standard error."""
    with contextlib.suppress(OSError):
        print(f"embedge: {' '.join(message.split())}", file=sys.stderr)


def discard_output() -> None:
    """Drop what is not written yet: Python would try it once more at its exit, wait, and report it if it can't."""
    with contextlib.suppress(OSError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
