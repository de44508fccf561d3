"""A zip file with the same bytes for the same files, whenever and wherever it is written."""

import zipfile
from pathlib import Path

from embedge.atomic import replace_file
from embedge.errors import PackError

# A zip can't say less.
_DATE = (1980, 1, 1, 0, 0, 0)
# A function runs as another user than the one whose files they are; a shared library need not be executable.
_MODE = 0o100644
_UNIX = 3


def write_zip(directory: Path, out: Path) -> None:
    """Write all files of ``directory`` into the zip file ``out``, whole or not at all.

    Raises:
        PackError: ``out`` can't be written.
    """
    files = sorted((path.relative_to(directory).as_posix(), path) for path in directory.rglob("*") if path.is_file())
    try:
        with replace_file(out) as partial, zipfile.ZipFile(partial, "x", zipfile.ZIP_DEFLATED) as archive:
            for name, path in files:
                entry = zipfile.ZipInfo(name, _DATE)
                entry.create_system = _UNIX
                entry.external_attr = _MODE << 16
                entry.compress_type = zipfile.ZIP_DEFLATED
                archive.writestr(entry, path.read_bytes())
    except OSError as exc:
        raise PackError(f"{out} can't be written: {exc.strerror or exc}") from exc


def size(path: Path) -> int:
    """Bytes of a file, or of all files in a directory."""
    return sum(one.stat().st_size for one in [path, *path.rglob("*")] if one.is_file())
