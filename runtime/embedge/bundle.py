"""The contract between the two halves: a bundle is a directory that ``embedge_export`` seals and ``embedge`` opens.

::

    manifest.json            what the bundle is, and the sha256 of every other file (see embedge.manifest)
    tokenizer.json           the Hugging Face tokenizer, without padding and truncation
    model.<variant>.onnx     the graph, about 100 kB
    model.<variant>.bin      its weights, which ONNX Runtime maps instead of reading

Opening checks the manifest's seal and every file's presence and size. Hashing 35 MB takes 20 ms on a CPU with SHA
instructions and ten times that without, so ``load`` hashes the files it uses once and then remembers their time
stamps in ``.verified`` inside the bundle; where that can't be written, it hashes them every time.

``hashlib``, ``shutil`` and what they import take 6 ms, so they are imported where they are used: a start with a
verified bundle needs neither.
"""

import contextlib
import json
import os
import re
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from embedge.errors import BundleCorrupt, BundleError, ExportError
from embedge.manifest import MANIFEST, TOKENIZER, Manifest, SealedFile, looks_sealed

STAMPS = ".verified"
_FILE_NAME = re.compile(r"[A-Za-z0-9._-]{1,200}(?<!\.)")
# A file changed within one tick of the file system's clock keeps its time stamp, so a younger one is not trusted.
_STAMP_AGE_S = 2.0


@dataclass(frozen=True)
class Bundle:
    """An opened bundle: ``path`` and the ``manifest`` found there."""

    path: Path
    manifest: Manifest

    @classmethod
    def open(cls, path: str | os.PathLike[str]) -> "Bundle":
        """Open the bundle at ``path``; no weights are read.

        Raises:
            UnsupportedFormat: another format version.
            BundleCorrupt: the manifest or a file's size is not what was sealed.
            BundleError: no bundle there, a file is missing, or a name leads out of the bundle.
        """
        path = Path(path)
        try:
            if not path.is_dir():
                raise BundleError(f"no bundle at {path}: it is not a directory; make one with `embedge export`")
            raw = _inside(path, MANIFEST).read_bytes()
        except OSError as exc:
            raise BundleError(f"{path} is not a bundle: {MANIFEST} can't be read ({exc.strerror})") from exc
        checked = _read_stamps(path).get(MANIFEST) == stamp(path / MANIFEST)
        manifest = Manifest.from_bytes(raw, str(path / MANIFEST), check_seal=not checked)
        bundle = cls(path, manifest)
        if not manifest.variants or manifest.dimensions < 1 or manifest.max_tokens < 1:
            raise BundleError(f"{path / MANIFEST} describes no model: no variants, dimensions or tokens")
        for name in [TOKENIZER, *bundle._model_files(manifest.variants)]:
            if name not in manifest.files:
                raise BundleError(f"{path / MANIFEST} does not list {name!r} among the files it seals")
        for name, sealed in manifest.files.items():
            bundle._check_size(name, sealed)
        return bundle

    def file(self, name: str) -> Path:
        """The path of a file of the bundle."""
        return _inside(self.path, name)

    def verify(self) -> None:
        """Hash every file.

        Raises:
            BundleCorrupt: naming the first file whose bytes are not the sealed ones.
        """
        Manifest.from_bytes(self.file(MANIFEST).read_bytes(), str(self.path / MANIFEST))
        for name in self.manifest.files:
            self._check_hash(name)

    def ensure_sealed(self, variant: str) -> None:
        """Hash the files that ``variant`` runs on, unless that was done before and they have not changed since.

        Raises:
            BundleCorrupt: naming the first file whose bytes are not the sealed ones.
        """
        oldest_trusted = (time.time() - _STAMP_AGE_S) * 1e9
        known = _read_stamps(self.path)
        stamps = {name: stamp(self.file(name)) for name in [MANIFEST, TOKENIZER, *self._model_files([variant])]}
        for name, now in stamps.items():
            if name != MANIFEST and known.get(name) != now:
                self._check_hash(name)
        if any(known.get(name) != now for name, now in stamps.items()) and all(
            max(now[2:]) < oldest_trusted for now in stamps.values()
        ):
            _write_stamps(self.path, {**known, **stamps})

    def _model_files(self, variants: Iterable[str]) -> list[str]:
        return [
            name
            for variant in variants
            for name in (self.manifest.variants[variant].graph, self.manifest.variants[variant].weights)
        ]

    def _check_size(self, name: str, sealed: SealedFile) -> None:
        path = self.file(name)
        try:
            size = path.stat().st_size
        except OSError as exc:
            raise BundleError(f"{path} is missing or unreadable ({exc.strerror}); copy the bundle again") from exc
        if size != sealed.bytes or not path.is_file():
            raise BundleCorrupt(f"{path} has {size} bytes instead of {sealed.bytes}; copy the bundle again")

    def _check_hash(self, name: str) -> None:
        path = self.file(name)
        if hash_file(path) != self.manifest.files[name].sha256:
            raise BundleCorrupt(f"{path} was altered: its sha256 is not the sealed one; copy the bundle again")


def stamp(path: Path) -> list[int]:
    """What changes when a file is changed or replaced: size, inode, times of modification and change."""
    status = path.stat()
    return [status.st_size, status.st_ino, status.st_mtime_ns, status.st_ctime_ns]


def _read_stamps(directory: Path) -> dict[str, list[int]]:
    """What an earlier load noted; nothing when there is no readable note, or it is of another manifest."""
    with contextlib.suppress(OSError, ValueError, RecursionError, BundleError):
        stamps = json.loads(_inside(directory, STAMPS).read_bytes())
        if isinstance(stamps, dict) and stamps.get(MANIFEST) == stamp(directory / MANIFEST):
            return stamps
    return {}


def _write_stamps(directory: Path, stamps: dict[str, list[int]]) -> None:
    partial = directory / f"{STAMPS}.{os.getpid()}"
    # A read-only bundle, or one on a full disk, is hashed again next time: nothing is lost.
    with contextlib.suppress(OSError):
        try:
            partial.write_text(json.dumps(stamps))
            partial.replace(directory / STAMPS)
        finally:
            partial.unlink(missing_ok=True)


def hash_file(path: Path) -> str:
    """Hexadecimal sha256 of a file; ``OSError`` becomes ``BundleError``."""
    import hashlib

    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as exc:
        raise BundleError(f"{path} can't be read ({exc.strerror})") from exc


def seal_files(directory: Path, names: Iterable[str]) -> dict[str, SealedFile]:
    """Size and hash of files that were just written, for :attr:`Manifest.files`."""
    return {name: SealedFile((directory / name).stat().st_size, hash_file(directory / name)) for name in sorted(names)}


@contextlib.contextmanager
def write(target: Path, *, force: bool) -> Iterator[Path]:
    """Make a bundle whole or not at all: the body fills the directory it is given, which then becomes ``target``.

    The directory lies beside ``target`` and is moved there when the body ends; when it raises, it is removed. A
    process killed in between leaves a hidden directory ``.<name>.*.partial`` and no ``target``. With ``force`` a
    bundle that is already at ``target`` is replaced; it stays where it was until the new one is complete.

    Raises:
        ExportError: ``target`` exists (without ``force``), is no bundle, or can't be written.
    """
    import shutil

    target = Path(os.path.abspath(target))  # noqa: PTH100 - `.` gets its name, and links stay
    check_free(target, force=force)
    partial = target.parent / f".{target.name}.{os.urandom(4).hex()}.partial"
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        partial.mkdir()
    except OSError as exc:
        raise ExportError(f"{target} can't be written: {exc.strerror or exc}") from exc
    try:
        yield partial
        _sync(partial)
        check_free(target, force=force)
        _move_into_place(partial, target)
    except OSError as exc:
        raise ExportError(f"{target} can't be written: {exc.strerror or exc}") from exc
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def check_free(target: Path, *, force: bool) -> None:
    """Raise ``ExportError`` unless a bundle may be written to ``target``."""
    try:
        if not (target.exists() or target.is_symlink()):
            return
        if not force:
            raise ExportError(f"{target} exists; give another OUT or --force to replace it")
        replaceable = target.is_dir() and not target.is_symlink() and _is_bundle_or_empty(target)
    except OSError as exc:
        raise ExportError(f"{target} can't be written: {exc.strerror or exc}") from exc
    if not replaceable:
        raise ExportError(f"{target} exists and is not a bundle, so --force does not replace it; give another OUT")


def _is_bundle_or_empty(directory: Path) -> bool:
    manifest = directory / MANIFEST
    return looks_sealed(manifest.read_bytes()) if manifest.is_file() else not any(directory.iterdir())


def _move_into_place(partial: Path, target: Path) -> None:
    if not target.exists():
        partial.rename(target)
        return
    import shutil

    replaced = target.parent / f".{target.name}.{os.urandom(4).hex()}.replaced"
    target.rename(replaced)
    try:
        partial.rename(target)
    except BaseException:  # Ctrl-C too: what was there must come back
        replaced.rename(target)
        raise
    shutil.rmtree(replaced, ignore_errors=True)


def _sync(directory: Path) -> None:
    """Bring the files to the disk before the rename shows them, so that a power cut can't leave half a bundle."""
    if os.name == "nt":  # has no such call for directories
        return
    for path in [*directory.iterdir(), directory]:
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _inside(directory: Path, name: str) -> Path:
    """The file ``name`` of the bundle ``directory``; it may not lead anywhere else."""
    if not _FILE_NAME.fullmatch(name):
        raise BundleError(f"{directory / MANIFEST} names {name!r}: a file of a bundle lies in the bundle itself")
    path = directory / name
    try:
        leaves = path.is_symlink() and not path.resolve().is_relative_to(directory.resolve())
    except RuntimeError as exc:
        raise BundleError(f"{path} is a link that leads to itself; copy the file itself") from exc
    if leaves:
        raise BundleError(f"{path} is a link that leaves the bundle; copy the file itself")
    return path
