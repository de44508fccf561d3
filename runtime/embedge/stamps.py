"""What an earlier load has hashed, so that later ones need not: files by their time stamps, in ``.verified``."""

import contextlib
import json
import stat
from collections.abc import Mapping
from pathlib import Path

from embedge.atomic import replace_file

STAMPS = ".verified"
# A file changed within one tick of the file system's clock keeps its time stamp, so a younger one is not trusted.
_TRUSTED_AGE_S = 2.0

Stamp = list[int]


def stamp(path: Path) -> Stamp:
    """What changes when a file is changed or replaced: size, inode, times of modification and change."""
    status = path.stat()
    return [status.st_size, status.st_ino, status.st_mtime_ns, status.st_ctime_ns]


def read(directory: Path, manifest: str) -> dict[str, Stamp]:
    """What was noted in ``directory``; nothing where there is no readable note, or it is of another ``manifest``."""
    note = directory / STAMPS
    with contextlib.suppress(OSError, ValueError, RecursionError):
        if not stat.S_ISREG(note.lstat().st_mode):  # a link might lead anywhere, and a pipe never end
            return {}
        stamps = json.loads(note.read_bytes())
        if isinstance(stamps, dict) and stamps.get(manifest) == stamp(directory / manifest):
            return stamps
    return {}


def write(directory: Path, known: Mapping[str, Stamp], found: Mapping[str, Stamp], since: float) -> None:
    """Note the stamps ``found``, taken at the time ``since``, beside those ``known``, unless a file is too young."""
    oldest_trusted = (since - _TRUSTED_AGE_S) * 1e9
    if all(known.get(name) == now for name, now in found.items()):
        return
    if any(max(now[2:]) >= oldest_trusted for now in found.values()):
        return
    # A read-only bundle, or one on a full disk, is hashed again next time: nothing is lost.
    with contextlib.suppress(OSError), replace_file(directory / STAMPS) as partial:
        partial.write_text(json.dumps({**known, **found}))
