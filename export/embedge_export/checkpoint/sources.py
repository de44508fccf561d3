"""Where a checkpoint comes from, and what is known of it beside its own files."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from embedge.errors import CheckpointError
from embedge_export.checkpoint.card import Card
from embedge_export.checkpoint.config import hidden_size
from embedge_export.checkpoint.hub import fetch
from embedge_export.checkpoint.registry import Family, KnownModel, find_family, known_models
from embedge_export.checkpoint.weights import WEIGHTS

_HUB_ID = re.compile(r"([A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*)(?:@([\w./-]+))?")
# Where the hub's client keeps a model.
_CACHED = re.compile(r"models--([\w.-]+?)--([\w.-]+)/snapshots/([0-9a-f]{40})")


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
    """Directory, hub id and revision of ``source``, which may be a directory of the hub's cache.

    Errors as in :func:`hub_id` and :func:`.hub.fetch`.
    """
    named = hub_id(source)
    if named is None:
        cached = _CACHED.fullmatch("/".join(Path(source).resolve().parts[-3:]))
        if cached:
            owner, name, revision = cached.groups()
            return Path(source), f"{owner}/{name}", revision
        return Path(source), None, None
    model_id, revision = named
    known = next((model for model in known_models() if model.id == model_id), None)
    directory, revision = fetch(model_id, known, revision)
    return directory, model_id, revision


def find_known(model_id: str | None, digest: str | None, weights: Path, revision: str | None) -> KnownModel | None:
    """The registry's entry for a model, by id or by hash.

    By id, ``model.safetensors`` of the pinned revision has the pinned hash; other files of weights have none.
    """
    for model in known_models():
        pinned = (model.id, model.revision) == (model_id, revision) and weights.name == WEIGHTS
        if pinned and model.sha256 != digest:
            raise CheckpointError(
                f"{weights} has sha256 {digest}, {model.id} at revision {model.revision} has "
                f"{model.sha256}: the file is damaged or was replaced; delete it and fetch it again"
            )
        if model.id == model_id or (model_id is None and model.sha256 == digest):
            return model
    return None


@dataclass(frozen=True)
class Origin:
    """The family of a model, and how that is known."""

    family: Family | None = None
    reason: str = ""
    certain: bool = False
    """Whether the family has the model's own id; otherwise it is a guess."""
    hint: str = ""
    """What the user may want to do, where a model is not taken for one of a family and may be one."""


def find_origin(root: Path, config: dict[str, Any], card: Card, model_id: str | None) -> Origin:
    """The family that a model belongs to by its id, else by its name or by what ``config.json`` says of its origin.

    By these it does only where it has the ``hidden_size`` of the model that they name.

    Models that were trained on from others don't get the others' prompts: their training may have had none.
    """
    if model_id and (found := find_family(model_id)) and found[1].lower() == model_id.lower():
        return Origin(found[0], f"known for {found[1]}", certain=True)
    named = str(config.get("_name_or_path") or "")
    if card.fine_tuned:
        found = find_family(card.base_model or named)
        return Origin(hint=_hint(*found) if found else "")
    name = model_id or root.resolve().name
    hint, hidden = "", hidden_size(config)
    for how, guess in (("config.json names", named), ("it is called like", name)):
        if found := find_family(guess):
            family, model = found
            if family.models[model] == hidden:
                return Origin(family, f"a guess, since {how} {model}")
            hint = hint or f"{how} {model}, but hidden_size is {hidden}, not {family.models[model]}: not taken for it"
    return Origin(hint=hint)


def _hint(family: Family, model: str) -> str:
    prompts = (("--query-prompt", family.query_prompt), ("--document-prompt", family.document_prompt))
    options = " ".join(f'{option} "{text}"' for option, text in prompts if text)
    return f"based on {model}: if it was trained with that model's prompts, pass {options}" if options else ""
