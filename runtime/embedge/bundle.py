"""The contract between the two halves: a bundle is a directory that ``embedge_export`` seals and ``embedge`` opens.

::

    manifest.json            what the bundle is, and the sha256 of every other file (see embedge.manifest)
    tokenizer.json           the Hugging Face tokenizer, without padding and truncation
    model.<variant>.onnx     a graph, about 100 kB; of int8 there are three (see embedge.engine.choose)
    model.<variant>.bin      the weights, which ONNX Runtime maps instead of reading

Opening checks the manifest's seal and every file's presence and size. Hashing 35 MB takes 20 ms on a CPU with SHA
instructions and ten times that without, so ``load`` hashes the files it uses once and then remembers their time
stamps (:mod:`embedge.stamps`). ``hashlib`` is imported where it is used: a start with a verified bundle does without.
"""

import contextlib
import math
import os
import re
import stat
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from embedge import stamps, store
from embedge.atomic import replace_directory
from embedge.errors import BundleCorrupt, BundleError, ExportError
from embedge.manifest import MANIFEST, TOKENIZER, Manifest, SealedFile

# Far beyond any model's dimensions and tokens; a buffer of so many numbers can still be had.
_MOST = 1 << 20
_INT8_RANGES = (1e-6, 1e6)
_FILE_NAME = re.compile(r"[A-Za-z0-9._-]{1,200}(?<!\.)")


@dataclass(frozen=True)
class Bundle:
    """An opened bundle: ``path`` and the ``manifest`` found there."""

    path: Path
    manifest: Manifest

    def __repr__(self) -> str:
        return f"Bundle({os.fspath(self.path)!r}, {self.manifest!r})"

    @classmethod
    def open(cls, path: str | os.PathLike[str]) -> "Bundle":
        """Open the bundle at ``path``, or of that name in the store (:func:`embedge.store.find`); no weights are read.

        Its files may be links, wherever they lead, as in the caches of the Hugging Face hub and of DVC or in a volume
        of Kubernetes: each must have the bytes that the manifest seals.

        Raises:
            UnsupportedFormat: another format version.
            BundleCorrupt: the manifest or a file's size is not what was sealed.
            BundleError: no bundle there, a file is missing or not a regular one, a name leads out of the bundle, or
                the path is not UTF-8, which ONNX Runtime needs.
        """
        path = store.find(path)
        try:
            if not path.is_dir():
                raise BundleError(f"no bundle at {path}: it is not a directory; make one with `embedge export`")
            if not _is_utf8(path):
                raise BundleError(f"the path {str(path)!a} is not UTF-8, which ONNX Runtime needs: rename or move it")
            _check_regular(path / MANIFEST)
            raw = (path / MANIFEST).read_bytes()
        except OSError as exc:
            raise BundleError(f"{path} is not a bundle: {MANIFEST} can't be read ({exc.strerror})") from exc
        checked = MANIFEST in stamps.read(path, MANIFEST)
        manifest = Manifest.from_bytes(raw, str(path / MANIFEST), check_seal=not checked)
        bundle = cls(path, manifest)
        if not _is_sound(manifest):
            raise BundleError(f"{path / MANIFEST} describes no model that can be run; export the checkpoint again")
        for name in [TOKENIZER, *(name for variant in manifest.variants.values() for name in variant.files)]:
            if name not in manifest.files:
                raise BundleError(f"{path / MANIFEST} does not list {name!r} among the files it seals")
        for variant in manifest.variants.values():
            room = manifest.files[variant.weights].bytes
            if any(tensor.offset + math.prod(tensor.shape) > room for tensor in variant.codes.values()):
                raise BundleError(f"{path / MANIFEST} places matrices outside {variant.weights}; export it again")
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

    def ensure_sealed(self, variant: str) -> dict[str, stamps.Stamp]:
        """Hash the files that ``variant`` runs on, unless that was done before and they have not changed since.

        Returns:
            Their stamps: as long as they keep them, they have the sealed bytes.

        Raises:
            BundleCorrupt: naming the first file whose bytes are not the sealed ones.
        """
        since = time.time()
        known = stamps.read(self.path, MANIFEST)
        names = [MANIFEST, TOKENIZER, *self.manifest.variants[variant].files]
        found = {name: stamps.stamp(self.file(name)) for name in names}
        for name, now in found.items():
            if name != MANIFEST and known.get(name) != now:
                self._check_hash(name)
        stamps.write(self.path, known, found, since)
        return found

    def _check_size(self, name: str, sealed: SealedFile) -> None:
        path = self.file(name)
        try:
            size = _check_regular(path)
        except OSError as exc:
            raise BundleError(f"{path} is missing or unreadable ({exc.strerror}); copy the bundle again") from exc
        if size != sealed.bytes:
            raise BundleCorrupt(f"{path} has {size} bytes instead of {sealed.bytes}; copy the bundle again")

    def _check_hash(self, name: str) -> None:
        path = self.file(name)
        if hash_file(path) != self.manifest.files[name].sha256:
            raise BundleCorrupt(f"{path} was altered: its sha256 is not the sealed one; copy the bundle again")


def _is_sound(manifest: Manifest) -> bool:
    """Whether the fields have values that mean something; that they have the right types is known."""
    facts = manifest.tokenizer
    room = min(manifest.dimensions, manifest.max_tokens - len(facts.before + facts.between + facts.after))
    tensors = [tensor for variant in manifest.variants.values() for tensor in variant.codes.values()]
    low, high = _INT8_RANGES
    return (
        room > 0
        and max(manifest.dimensions, manifest.max_tokens) <= _MOST
        and low <= manifest.int8_range <= high
        and bool(manifest.variants)
        and set(manifest.measured.variants) == set(manifest.variants)
        and all(variant.graphs and variant.devices for variant in manifest.variants.values())
        and all(
            variant.codes or not graph.unsigned for variant in manifest.variants.values() for graph in variant.graphs
        )
        and all(tensor.offset >= 0 and len(tensor.shape) == 2 and min(tensor.shape) > 0 for tensor in tensors)
    )


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
    """Make a bundle whole or not at all: the body fills the directory that it is given, which then becomes ``target``.

    With ``force`` a bundle that is at ``target`` when the body has ended is replaced (see :mod:`embedge.atomic`).

    Raises:
        ExportError: ``target`` exists (without ``force``), is no bundle or has other files, too, or can't be written.
    """
    target = Path(os.path.abspath(target))  # noqa: PTH100 - `.` gets its name, and links stay
    check_free(target, force=force)

    def check(directory: Path) -> None:
        _check_replaceable(directory, target)

    try:
        with replace_directory(target, check=check if force else None) as partial:
            yield partial
            check_free(target, force=force)
    except OSError as exc:
        raise ExportError(f"{target} can't be written: {exc.strerror or exc}") from exc


def check_free(target: Path, *, force: bool) -> None:
    """Raise ``ExportError`` unless a bundle may be written to ``target``."""
    try:
        if not (target.exists() or target.is_symlink()):
            return
        if not force:
            raise ExportError(f"{target} exists; give another OUT or --force to replace it")
        _check_replaceable(target, target)
    except OSError as exc:
        raise ExportError(f"{target} can't be written: {exc.strerror or exc}") from exc


def _check_replaceable(directory: Path, target: Path) -> None:
    """Raise ``ExportError`` unless ``directory``, which is or was at ``target``, is a bundle or empty."""
    from embedge.contents import find_stranger, is_bundle  # not needed at a start

    if directory.is_symlink() or not directory.is_dir() or not (is_bundle(directory) or not any(directory.iterdir())):
        raise ExportError(f"{target} exists and is not a bundle, so --force does not replace it; give another OUT")
    stranger = find_stranger(directory)
    if stranger is not None:
        raise ExportError(
            f"{target} has {stranger}, which is no file of a bundle, so --force does not replace it; give another OUT"
        )


def _inside(directory: Path, name: str) -> Path:
    """The file ``name`` of the bundle ``directory``, or the link of this name there."""
    if not _FILE_NAME.fullmatch(name):
        raise BundleError(f"{directory / MANIFEST} names {name!r}: a file of a bundle lies in the bundle itself")
    return directory / name


def _check_regular(path: Path) -> int:
    """The size of a file or of what a link leads to; ``BundleError`` for a pipe, on which reading would wait."""
    status = path.stat()
    if not stat.S_ISREG(status.st_mode):
        raise BundleError(f"{path} is not a regular file; copy the bundle again")
    return status.st_size


def _is_utf8(path: Path) -> bool:
    """Whether the path's bytes, in the encoding of this process's file names, are those of its text in UTF-8."""
    text = os.path.abspath(path)  # noqa: PTH100 - the session gets it whole
    try:
        return os.fsencode(text) == text.encode()
    except UnicodeEncodeError:
        return False
