"""Files and directories that appear whole or not at all; what was there before stays until then.

What is being written lies beside its place, under a hidden name that ends in ``.partial``, so that a rename brings it
there. A process that is killed leaves that behind, and nothing else.

A directory takes the place of another by one exchange, where the system has such a call: Linux, on most file systems.
Elsewhere it takes two renames. A process that is killed between them leaves nothing in the place, and what was there
beside it, whole, under a hidden name that ends in ``.replaced``: rename it back.
"""

import contextlib
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path


@contextlib.contextmanager
def replace_file(path: Path) -> Iterator[Path]:
    """The body writes the file that it is given, which then becomes ``path``; when it raises, it is removed."""
    partial = _beside(path, "partial")
    try:
        yield partial
        partial.replace(path)
    finally:
        with contextlib.suppress(OSError):
            partial.unlink()


@contextlib.contextmanager
def replace_directory(path: Path, *, check: Callable[[Path], None] | None = None) -> Iterator[Path]:
    """The body fills the directory that it is given, which then becomes ``path``; when it raises, it is removed.

    Its files are on the disk before it is renamed, so that a power cut can't leave half of it.

    What is at ``path`` is replaced only if ``check`` of it does not raise; it is called again when that lies at a path
    of its own, where nobody else puts anything, before it is deleted. Without ``check``, all but an empty directory
    stays, and an ``OSError`` is raised.
    """
    import shutil  # with what it imports takes 6 ms, which a start of the runtime does without

    partial = _beside(path, "partial")
    path.parent.mkdir(parents=True, exist_ok=True)
    partial.mkdir()
    made = partial.stat()
    try:
        yield partial
        _sync(partial)
        if check and os.path.lexists(path):
            check(path)
            _exchange(partial, path, check)
        else:
            partial.rename(path)
    finally:
        with contextlib.suppress(OSError):
            if os.path.samestat(partial.stat(), made):  # not what was replaced by it
                shutil.rmtree(partial, ignore_errors=True)


def _beside(path: Path, kind: str) -> Path:
    return path.with_name(f".{path.name}.{os.urandom(4).hex()}.{kind}")


def _exchange(partial: Path, path: Path, check: Callable[[Path], None]) -> None:
    """Put ``partial`` in the place of ``path``, and delete what was there if ``check`` of it does not raise."""
    import shutil

    if _swap(partial, path):
        replaced = partial
        try:
            check(replaced)
        except BaseException:  # Ctrl-C too: what was there must come back
            _swap(partial, path)
            raise
    else:
        replaced = _beside(path, "replaced")
        path.rename(replaced)
        try:
            check(replaced)
            partial.rename(path)
        except BaseException:
            replaced.rename(path)
            raise
    shutil.rmtree(replaced, ignore_errors=True)


def _swap(one: Path, other: Path) -> bool:
    """Let two paths change places at once; ``False`` where the system or the file system has no such call."""
    import ctypes

    rename = getattr(ctypes.CDLL(None), "renameat2", None) if sys.platform == "linux" else None
    # Paths from the working directory; the last is RENAME_EXCHANGE.
    return rename is not None and rename(-100, os.fsencode(one), -100, os.fsencode(other), 2) == 0


def _sync(directory: Path) -> None:
    if os.name == "nt":  # has no such call for directories
        return
    for path in [*directory.iterdir(), directory]:
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
