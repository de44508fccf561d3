"""The files of a loaded bundle, from which sessions are made later too: what was opened, not what lies there then."""

import contextlib
import os
import weakref
from collections.abc import Iterable, Mapping
from pathlib import Path

from embedge.bundle import Bundle, hash_file
from embedge.errors import BundleCorrupt, BundleError
from embedge.stamps import Stamp, stamp

_DESCRIPTORS = Path("/proc/self/fd")


class LoadedFiles:
    """Some files of a bundle, by their bytes: they may get other owners, modes, times, links and directories."""

    def __init__(self, bundle: Bundle, names: Iterable[str], sealed: Mapping[str, Stamp] | None = None) -> None:
        """``sealed`` has the files' stamps when they had the sealed bytes; without it they are taken to have them now.

        ``BundleError`` where the directory can't be opened.
        """
        # The working directory may be another one then.
        self._named = bundle.path.absolute()
        self._held = _HeldDirectory(self._named) if _DESCRIPTORS.is_dir() else None
        try:
            self._stamps = {name: sealed[name] if sealed else stamp(bundle.file(name)) for name in names}
        except OSError as exc:
            raise BundleError(f"{exc.filename} can't be read ({exc.strerror}); load the bundle again") from exc
        self._sealed = {name: bundle.manifest.files[name].sha256 for name in self._stamps}

    def check(self) -> Path:
        """The directory of the files, after a look at the bytes of those whose time stamps have changed.

        Raises:
            BundleCorrupt: a file was removed or has other bytes.
        """
        directory = self._held.path if self._held and self._held.is_open() else self._named
        for name, before in self._stamps.items():
            path = directory / name
            try:
                now = stamp(path)
                same = now == before or hash_file(path) == self._sealed[name]
            except (OSError, BundleError):
                same = False
            if not same:
                raise BundleCorrupt(
                    f"{self._named / name} was replaced or removed after the bundle was loaded; load it again"
                )
            self._stamps[name] = now
        return directory

    def close(self) -> None:
        """Let the directory go."""
        if self._held:
            self._held.close()


class _HeldDirectory:
    """A directory under whatever name, by a descriptor; daemons close all descriptors, and numbers are used again."""

    def __init__(self, path: Path) -> None:
        try:
            descriptor = os.open(path, os.O_PATH | os.O_DIRECTORY)
        except OSError as exc:
            raise BundleError(f"{path} can't be opened ({exc.strerror})") from exc
        self.path = _DESCRIPTORS / str(descriptor)
        self._descriptor = descriptor
        self._status = os.fstat(descriptor)
        self._close = weakref.finalize(self, _close, descriptor, self._status)
        self._close.atexit = False  # when sessions may still be made

    def is_open(self) -> bool:
        return _is_open(self._descriptor, self._status)

    def close(self) -> None:
        self._close()


def _is_open(descriptor: int, status: os.stat_result) -> bool:
    """Whether the descriptor still is that of the directory with this status."""
    try:
        return os.path.samestat(os.fstat(descriptor), status)
    except OSError:
        return False


def _close(descriptor: int, status: os.stat_result) -> None:
    if _is_open(descriptor, status):
        with contextlib.suppress(OSError):
            os.close(descriptor)
