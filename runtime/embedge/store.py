"""Bundles by name: the directory where ``embedge export BAAI/bge-small-en`` puts them, and everything finds them.

::

    $EMBEDGE_HOME, else the user's cache directory for embedge
    └── BAAI/bge-small-en/       a bundle, see embedge.bundle

Nothing is fetched here. Imported at every start, so only what a start has loaded anyway is imported at the top.
"""

import contextlib
import os
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from embedge.errors import BundleError

_PART = r"[A-Za-z0-9_][A-Za-z0-9._-]{0,95}(?<!\.)"
_NAME = re.compile(f"(?:({_PART})/)?({_PART})")
# Windows opens a device under these names, whatever their case and suffix; a store may be on a disk that it shares.
_DEVICE = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.IGNORECASE)


def home() -> Path:
    """The store's directory, which need not exist; ``BundleError`` where the environment names none."""
    chosen = os.environ.get("EMBEDGE_HOME")
    user = os.path.expanduser(chosen or "~")  # noqa: PTH111 - of a user who has none it raises nothing
    directory = Path(user) if chosen else cache(sys.platform, os.environ, user)
    if directory is None:
        raise BundleError("there is no home directory to keep bundles in by name: set EMBEDGE_HOME to a directory")
    return Path(os.path.abspath(directory))  # noqa: PTH100 - links stay


def cache(platform: str, environment: Mapping[str, str], user: str) -> Path | None:
    """Where ``platform`` (of :data:`sys.platform`) keeps caches of embedge; ``user`` is the home directory.

    A relative path in the environment counts as none, as the XDG Base Directory Specification wants it.
    """
    if platform == "darwin":
        base = Path(user, "Library", "Caches")
    elif platform == "win32":
        base = Path(environment.get("LOCALAPPDATA") or Path(user, "AppData", "Local"))
    else:
        base = Path(environment.get("XDG_CACHE_HOME", ""))
        base = base if base.is_absolute() else Path(user, ".cache")
    return base / "embedge" if base.is_absolute() else None


def place(name: str) -> Path:
    """The directory of the bundle ``name``, which need not exist.

    A bundle that is there under the same name in other capitals is the one: some disks can't tell them apart.

    Raises:
        BundleError: ``name`` is not OWNER/NAME, or can't be the name of a directory everywhere.
    """
    match = _NAME.fullmatch(name)
    if not match or not match[1]:
        raise BundleError(f"{name!r} is not a name of the form OWNER/NAME, such as BAAI/bge-small-en")
    if any(_DEVICE.fullmatch(part) for part in match.groups()):
        raise BundleError(f"{name!r} can't be the name of a directory on Windows")
    return home() / _same(name, names())


def find(bundle: str | os.PathLike[str]) -> Path:
    """The directory of a bundle that is given by its path or by its name in the store.

    A path is what is not a ``str``, what exists, and what does not look like a name; it is returned as it is.

    Raises:
        BundleError: a name that is not in the store, or an empty one.
    """
    if bundle == "":
        raise BundleError("the path of the bundle is empty; give a directory, or a name that `embedge list` shows")
    match = _NAME.fullmatch(bundle) if isinstance(bundle, str) else None
    if not isinstance(bundle, str) or not match or os.path.lexists(bundle):
        return Path(bundle)
    try:
        store = home()
    except BundleError as exc:
        raise BundleError(f"no bundle at {bundle}, and {exc}") from exc
    if match[1] and (store / bundle).is_dir():
        return store / bundle
    known = names()
    name = _same(bundle, known)
    if name in known:
        return store / name
    command = f"embedge export {bundle if match[1] else f'OWNER/{bundle}'}"
    raise BundleError(
        f"no bundle at {bundle}, and none of that name in {store}{_which_has(known, bundle)}; make one with `{command}`"
    )


def names() -> list[str]:
    """The names of all bundles in the store, damaged ones too."""
    from embedge.contents import is_bundle  # not needed at a start with a path

    found = []
    for directory in sorted(home().glob("*/*")):
        name = "/".join(directory.parts[-2:])
        if _NAME.fullmatch(name) and is_bundle(directory):
            found.append(name)
    return found


def remove(name: str) -> int:
    """Delete the bundle ``name`` from the store; returns the bytes of its files.

    Where a link is in its place, that is deleted, and not what it leads to. It is gone from its name at once: who
    interrupts this leaves a hidden directory, which goes with the next bundle of that owner.

    Raises:
        BundleError: no bundle of that name is in the store, what is there leads out of it, or has other files, too.
    """
    import shutil

    from embedge.contents import find_stranger

    directory = place(name)
    owner = directory.parent
    if "/".join(directory.parts[-2:]) not in names():
        raise BundleError(f"no bundle {name} in {home()}; `embedge list` shows those that are there")
    if owner.is_symlink():
        raise BundleError(f"{owner} is a link that leads out of the store: delete {directory} by hand")
    try:
        if directory.is_symlink():
            directory.unlink()
            size = 0
        else:
            stranger = find_stranger(directory)
            if stranger is not None:
                raise BundleError(f"{directory} has {stranger}, which is no file of a bundle: delete it by hand")
            size = sum(path.lstat().st_size for path in directory.iterdir())
            removed = directory.rename(owner / f".{directory.name}.{os.urandom(4).hex()}.removed")
            shutil.rmtree(removed)
            for left in owner.glob(".*.????????.removed"):
                shutil.rmtree(left, ignore_errors=True)
    except OSError as exc:
        raise BundleError(f"{directory} can't be deleted: {exc.strerror or exc}") from exc
    with contextlib.suppress(OSError):  # of an owner who has others
        owner.rmdir()
    return size


def _same(name: str, known: Sequence[str]) -> str:
    """The one of ``known`` that is ``name``, or differs from it by capitals only; ``name`` itself if there is none."""
    same = [other for other in known if other.lower() == name.lower()]
    return same[0] if same and name not in same else name


def _which_has(known: Sequence[str], name: str) -> str:
    """A clause that lists those of ``known`` that come closest to ``name``."""
    import difflib  # for an error only

    def distance(other: str) -> float:
        ratios = [
            difflib.SequenceMatcher(None, name.lower(), part).ratio()
            for part in (other.lower(), other.lower().split("/")[1])
        ]
        return -max(ratios)

    if not known:
        return ""
    more = f" and {len(known) - 5} more" if len(known) > 5 else ""
    return f", which has {', '.join(sorted(known, key=distance)[:5])}{more}"
