"""Where a checkpoint comes from, and what is known of it beside its own files."""

import re
from pathlib import Path
from typing import Any

from embedge.errors import CheckpointError
from embedge_export.checkpoint.hub import fetch
from embedge_export.checkpoint.registry import Family, KnownModel, find_family, known_models

_HUB_ID = re.compile(r"([A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*)(?:@([\w./-]+))?")
_BASE_MODEL = re.compile(r"^base_model:\s*(?:-\s*)?[\"']?([\w.-]+/[\w.-]+)", re.MULTILINE)


def hub_id(source: str) -> tuple[str, str | None] | None:
    """The hub id and the revision that ``source`` names; ``None`` where it is a directory.

    The id is spelled as in the registry, if it is there.

    Raises:
        CheckpointError: it is neither.
    """
    path = Path(source)
    if path.is_dir():
        return None
    if path.exists():
        raise CheckpointError(f"{source} is a file: give the directory of the checkpoint that it belongs to")
    match = _HUB_ID.fullmatch(source)
    if not match:
        raise CheckpointError(f"{source} is neither a directory nor a hub id (OWNER/NAME, or with @REVISION)")
    model_id, revision = match.groups()
    return next((model.id for model in known_models() if model.id.lower() == model_id.lower()), model_id), revision


def find(source: str) -> tuple[Path, str | None, str | None]:
    """Directory, hub id and revision of ``source``; errors as in :func:`hub_id` and :func:`.hub.fetch`."""
    named = hub_id(source)
    if named is None:
        return Path(source), None, None
    model_id, revision = named
    known = next((model for model in known_models() if model.id == model_id), None)
    directory, revision = fetch(model_id, known, revision)
    return directory, model_id, revision


def find_known(model_id: str | None, digest: str | None, weights: Path, revision: str | None) -> KnownModel | None:
    """The registry's entry for a model: by id, in which case the pinned revision has the pinned hash, or by hash."""
    for model in known_models():
        if (model.id, model.revision) == (model_id, revision) and model.sha256 != digest:
            raise CheckpointError(
                f"{weights} has sha256 {digest}, {model.id} at revision {model.revision} has "
                f"{model.sha256}: the file is damaged or was replaced; delete it and fetch it again"
            )
        if model.id == model_id or (model_id is None and model.sha256 == digest):
            return model
    return None


def guess_family(root: Path, config: dict[str, Any], model_id: str | None) -> tuple[Family | None, str]:
    """The family that a model belongs to by its id or by what its files say of its origin, and how it is known."""
    if model_id and (found := find_family([model_id])):
        return found[0], f"known for {found[1]}"
    card = root / "README.md"
    text = card.read_text(encoding="utf-8", errors="replace") if card.is_file() else ""
    base = _BASE_MODEL.search(text)
    guesses = {
        "config.json names": str(config.get("_name_or_path") or ""),
        "README.md names as base_model": base[1] if base else "",
        "the directory is called like": root.resolve().name,
    }
    for how, name in guesses.items():
        if name and (found := find_family([name])):
            return found[0], f"a guess, since {how} {found[1]}"
    return None, ""
