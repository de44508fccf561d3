"""The files of a loaded bundle, from which sessions are made later too: what was opened, not what lies there then."""

import os
import weakref
from collections.abc import Iterable
from pathlib import Path

from embedge.bundle import Bundle, hash_file
from embedge.errors import BundleCorrupt, BundleError
from embedge.stamps import stamp

_DESCRIPTORS = Path("/proc/self/fd")


class LoadedFiles:
    """Some files of a bundle, by their bytes: they may get other owners, modes, times, links and directories."""

    def __init__(self, bundle: Bundle, names: Iterable[str]) -> None:
        """The bytes that they have now are taken for the sealed ones."""
        # The working directory may be another one then.
        self._named = bundle.path.absolute()
        self._directory = self._named
        self._close: weakref.finalize[[int], LoadedFiles] | None = None
        if _DESCRIPTORS.is_dir():
            descriptor = os.open(self._named, os.O_RDONLY | os.O_DIRECTORY)
            self._close = weakref.finalize(self, os.close, descriptor)
            self._close.atexit = False  # when sessions may still be made
            # Leads to the directory under whatever name.
            self._directory = _DESCRIPTORS / str(descriptor)
        self._stamps = {name: stamp(bundle.file(name)) for name in names}
        self._sealed = {name: bundle.manifest.files[name].sha256 for name in self._stamps}

    def check(self) -> Path:
        """The directory of the files, after a look at the bytes of those whose time stamps have changed.

        Raises:
            BundleCorrupt: a file was removed or has other bytes.
        """
        for name, before in self._stamps.items():
            path = self._directory / name
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
        return self._directory

    def close(self) -> None:
        """Let the directory go."""
        if self._close:
            self._close()
