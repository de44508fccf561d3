"""Mapped files whose pages this process does not need again, as weights that were packed in a copy."""

import contextlib
import ctypes
import re
from bisect import bisect_left
from collections.abc import Sequence
from pathlib import Path

# The second says more of each mapping, and takes ten times as long.
_MAPPINGS, _MORE = Path("/proc/self/maps"), Path("/proc/self/smaps")
_HEAD = re.compile(r"^([0-9a-f]+)-([0-9a-f]+) .*/(.+)$", re.MULTILINE)
# What was written to and swapped out since is no longer counted as anonymous.
_WRITTEN = re.compile(r"^(?:Anonymous|Swap): +[1-9]", re.MULTILINE)
_DONT_NEED = 4  # MADV_DONTNEED of Linux

Addresses = tuple[int, int]
"""The first of a mapping, and the first behind it."""


def mapped(path: Path) -> list[Addresses]:
    """Where files are mapped that are called as ``path`` is, in their order. On Linux; elsewhere there are none.

    By the name: a container's layers show another device, and some another inode.
    """
    return [_addresses(head) for head in _HEAD.finditer(_read(_MAPPINGS)) if head[3] == path.resolve().name]


def let_go(path: Path, besides: Sequence[Addresses]) -> None:
    """Let the mapped pages of the file ``path`` go. Whoever reads them again finds them, in the file if need be.

    Mappings that were written to are left alone: that would be lost. So are those in ``besides``, which others may
    unmap meanwhile: what lies at their addresses then would be lost. On Linux; elsewhere this does nothing.
    """
    name, text = path.resolve().name, _read(_MORE)
    if not text:
        return
    library = ctypes.CDLL(None)
    starts = [start for start, _ in besides]
    for head in _HEAD.finditer(text):
        about = text[head.end() : text.find("VmFlags", head.end())]
        if head[3] == name and not _WRITTEN.search(about):
            start, end = _addresses(head)
            # Linux makes one of two mappings that fit together.
            before = bisect_left(starts, end)
            if not (before and besides[before - 1][1] > start):
                library.madvise(ctypes.c_void_p(start), ctypes.c_size_t(end - start), _DONT_NEED)


def _addresses(head: "re.Match[str]") -> Addresses:
    return int(head[1], 16), int(head[2], 16)


def _read(mappings: Path) -> str:
    """Empty where there is no such file, or a rule of the system keeps it from this process."""
    with contextlib.suppress(OSError):
        return mappings.read_text(errors="surrogateescape")
    return ""
