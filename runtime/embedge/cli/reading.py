"""Texts from files and from standard input: what can be read, and its lines as they come."""

import io
import os
import select
import stat
import sys
from collections.abc import Iterator
from pathlib import Path

from embedge.errors import InputError

# As many as the embedder takes at a time.
_WINDOW = 1024
# Lines that come within so many seconds of each other are taken together.
_PAUSE_S = 0.01
# No text is as long; without a limit, an endless line would fill the memory.
_MAX_LINE_BYTES = 1 << 26


def open_input(file: Path | None) -> io.FileIO:
    """``file``, or standard input, to be read without a buffer; ``InputError`` for what may never end."""
    if file is not None:
        source = io.FileIO(file)
    elif sys.stdin is None:
        raise InputError("standard input is closed; give texts as arguments, or --file")
    else:
        source = io.FileIO(sys.stdin.fileno(), closefd=False)
    status = os.fstat(source.fileno())
    is_null = stat.S_ISCHR(status.st_mode) and status.st_rdev == Path(os.devnull).stat().st_rdev
    if (stat.S_ISCHR(status.st_mode) or stat.S_ISBLK(status.st_mode)) and not (is_null or source.isatty()):
        source.close()
        raise InputError(f"{file or 'standard input'} is a device; give a file or a pipe")
    return source


def batches(source: io.FileIO, name: str) -> Iterator[list[str]]:
    """Lines without their ends: those that are there when one is read come together, at most 1024.

    So a slow writer gets its answers line by line, and a fast one is served in large batches.

    Raises:
        InputError: a line that is not UTF-8, or of more than 64 MB; the message has its number, and ``name``.
    """
    lines: list[bytes] = []
    unfinished: list[bytes] = []
    number = 1
    while (data := source.read(1 << 16)) != b"":
        if data is None:  # from a pipe that its writer has made non-blocking
            select.select([source], [], [])
            continue
        *ended, last = data.split(b"\n")
        if ended:
            lines += [b"".join([*unfinished, ended[0]]), *ended[1:]]
            unfinished = []
        unfinished.append(last)
        while len(lines) >= _WINDOW or (lines and not _has_more(source)):
            yield from _decode(lines[:_WINDOW], number, name)
            number += len(lines[:_WINDOW])
            del lines[:_WINDOW]
        if sum(map(len, unfinished)) > _MAX_LINE_BYTES:
            raise InputError(f"{name}, line {number + len(lines)}: longer than {_MAX_LINE_BYTES >> 20} MB")
    if last_line := b"".join(unfinished):
        lines.append(last_line)
    if lines:
        yield from _decode(lines, number, name)


def _has_more(source: io.FileIO) -> bool:
    """Whether there is something to read, or the end."""
    try:
        return bool(select.select([source], [], [], _PAUSE_S)[0])
    except OSError:  # Windows, where it takes sockets only
        return False


def _decode(lines: list[bytes], number: int, name: str) -> Iterator[list[str]]:
    """One list of ``lines``, the first of which has this ``number``; when one is wrong, those before it."""
    texts: list[str] = []
    for line in lines:
        try:
            # Some editors put a byte order mark in front of the first.
            text = line.decode("utf-8-sig" if number == 1 else "utf-8")
        except UnicodeDecodeError as exc:
            if texts:
                yield texts
            raise InputError(f"{name}, line {number}: not UTF-8 ({exc.reason} at byte {exc.start})") from exc
        texts.append(text.rstrip("\r\n"))
        number += 1
    yield texts
