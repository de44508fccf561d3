"""Which directories are bundles, by the names of what lies in them, and whether all of it may be deleted."""

import contextlib
import json
import re
from pathlib import Path

from embedge.manifest import MANIFEST, TOKENIZER, looks_sealed
from embedge.stamps import STAMPS

_MODEL = re.compile(r"model\.[\w-]+\.(onnx|bin)")
_OTHER = re.compile(rf"{re.escape(MANIFEST)}|{re.escape(TOKENIZER)}|\.?{re.escape(STAMPS)}(\.\w+\.partial)?")


def is_bundle(directory: Path) -> bool:
    """Whether ``directory`` has a bundle's manifest, or is what is left of a bundle: its files and no others."""
    with contextlib.suppress(OSError):
        manifest = directory / MANIFEST
        if manifest.is_file() and looks_sealed(manifest.read_bytes()):
            return True
        return find_stranger(directory) is None and any(_MODEL.fullmatch(path.name) for path in directory.iterdir())
    return False


def find_stranger(directory: Path) -> str | None:
    """The name of something in ``directory`` that is no file of a bundle; ``None`` where there is no such thing."""
    known = _sealed_names(directory / MANIFEST)
    for path in sorted(directory.iterdir()):
        ours = path.name in known or _MODEL.fullmatch(path.name) or _OTHER.fullmatch(path.name)
        if not ours or (path.is_dir() and not path.is_symlink()):
            return path.name
    return None


def _sealed_names(manifest: Path) -> set[str]:
    """The files that a manifest lists, perhaps of another format version."""
    with contextlib.suppress(OSError, ValueError, RecursionError, KeyError, TypeError):
        raw = manifest.read_bytes()
        if looks_sealed(raw):
            return set(json.loads(raw)["files"])
    return set()
