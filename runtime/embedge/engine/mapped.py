"""Mapped files whose pages this process does not need again, as weights that were packed in a copy."""

import ctypes
import re
from pathlib import Path

_MAPPINGS = Path("/proc/self/smaps")
_HEAD = re.compile(r"^([0-9a-f]+)-([0-9a-f]+) .*/(.+)$", re.MULTILINE)
_WRITTEN = re.compile(r"^Anonymous: +[1-9]", re.MULTILINE)
_DONT_NEED = 4  # MADV_DONTNEED of Linux


def let_go(path: Path) -> None:
    """Let the mapped pages of the file ``path`` go. Whoever reads them again finds them, in the file if need be.

    Mappings that were written to are left alone: that would be lost. On Linux; elsewhere this does nothing.
    """
    if not _MAPPINGS.is_file():
        return
    # By its name: a container's layers show another device, and some another inode. Letting too much go harms nothing.
    name = path.resolve().name
    text = _MAPPINGS.read_text(errors="surrogateescape")
    for head in _HEAD.finditer(text):
        about = text[head.end() : text.find("VmFlags", head.end())]
        if head[3] == name and not _WRITTEN.search(about):
            start, end = int(head[1], 16), int(head[2], 16)
            ctypes.CDLL(None).madvise(ctypes.c_void_p(start), ctypes.c_size_t(end - start), _DONT_NEED)
