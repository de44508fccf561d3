"""Who gets in: keys from a file or the environment, compared in constant time."""

import hashlib
import hmac
import logging
import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path

from embedge.errors import EmbedgeError

VARIABLE = "EMBEDGE_API_KEYS"

_LOG = logging.getLogger("embedge.server")
_KEY = re.compile(r"[!-~]+")  # what a header can carry


class Keys:
    """The keys of a server; only their hashes are kept. Without any key everybody gets in."""

    def __init__(self, keys: Iterable[str] = (), *, file: Path | None = None) -> None:
        """``keys``, and those of ``file``, which :meth:`reload` reads again.

        Raises:
            EmbedgeError: the file can't be read, has no key, or has a line that is none.
        """
        self._fixed = [_hash(key.encode()) for key in keys]
        self._file = file
        self._hashes = self._fixed
        if file:
            self._hashes = self._fixed + _read(file)
            _warn_if_others_can_read(file)

    @classmethod
    def find(cls, file: Path | None, environment: Mapping[str, str]) -> "Keys":
        """Those of ``file`` and of the variable ``EMBEDGE_API_KEYS``, where several stand between commas.

        Raises:
            EmbedgeError: as for a file; the variable is set, but has no key.
        """
        keys: list[str] = []
        if VARIABLE in environment:
            keys = [key for key in re.split(r"[,\s]+", environment[VARIABLE]) if key]
            # An empty value is more likely a secret that is missing than a server meant to be open.
            if not keys or not all(map(_KEY.fullmatch, keys)):
                raise EmbedgeError(
                    f"{VARIABLE} must be keys of ASCII characters, with commas between them; or unset it"
                )
        return cls(keys, file=file)

    def __bool__(self) -> bool:
        return bool(self._hashes)

    @property
    def file(self) -> Path | None:
        """Where they are read from again."""
        return self._file

    def admit(self, authorization: str | None) -> bool:
        """Whether the header ``Authorization`` has one of the keys, or none is needed."""
        if not self._hashes:
            return True
        scheme, _, key = (authorization or "").partition(" ")
        presented = _hash(key.strip().encode("latin-1", errors="replace"))
        # All of them, so that the time says nothing about which one is like it.
        matches = [hmac.compare_digest(presented, known) for known in self._hashes]
        return any(matches) and scheme.lower() == "bearer"

    def reload(self) -> None:
        """Read the file again; the keys stay as they are where that fails."""
        if self._file is None:
            return
        try:
            self._hashes = self._fixed + _read(self._file)
        except EmbedgeError as exc:
            _LOG.error("the keys stay as they are: %s", exc)
        else:
            _LOG.info("keys read again: %d from %s", len(self._hashes) - len(self._fixed), self._file)
            _warn_if_others_can_read(self._file)


def _hash(key: bytes) -> bytes:
    return hashlib.sha256(key).digest()


def _read(file: Path) -> list[bytes]:
    """The hashes of a file's keys. Errors name lines, never what stands there."""
    try:
        lines = file.read_text(encoding="utf-8-sig").splitlines()
    except OSError as exc:
        raise EmbedgeError(f"{file}: {exc.strerror}") from exc
    except UnicodeDecodeError:
        raise EmbedgeError(f"{file} is not a text file in UTF-8") from None  # its message has bytes of the file
    hashes = []
    for number, line in enumerate(map(str.strip, lines), 1):
        if line and not line.startswith("#"):
            if not _KEY.fullmatch(line):
                raise EmbedgeError(f"{file}, line {number}: a key has ASCII characters and no spaces")
            hashes.append(_hash(line.encode()))
    if not hashes:
        raise EmbedgeError(f"{file} has no key: write one on each line")
    return hashes


def _warn_if_others_can_read(file: Path) -> None:
    if os.name == "posix" and file.stat().st_mode & 0o004:
        _LOG.warning("everybody on this machine can read %s: chmod o-r it", file)
