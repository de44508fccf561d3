"""Known models and families: ``models/registry.toml``, in a wheel a copy of it beside this module."""

import functools
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from embedge_export.encoder import Pooling

_HERE = Path(__file__).parent
_PLACES = (_HERE / "registry.toml", _HERE.parents[2] / "models" / "registry.toml")

Similarity = Literal["cosine", "dot", "euclidean", "manhattan"]


@dataclass(frozen=True)
class KnownModel:
    """A model on the hub whose bytes are known; ``sha256`` is that of its ``model.safetensors`` at ``revision``."""

    id: str
    revision: str
    sha256: str
    license: str
    max_tokens: int


@dataclass(frozen=True)
class Family:
    """What the cards of some models say that their files leave out."""

    models: Mapping[str, int]
    """Their ids, each with its ``hidden_size``."""
    query_prompt: str = ""
    document_prompt: str = ""
    pooling: Pooling | None = None
    """Of those that are saved without sentence-transformers' files."""
    normalize: bool = True
    """Likewise."""
    similarity: Similarity = "cosine"


def known_models() -> list[KnownModel]:
    """Every model whose bytes are known."""
    return [KnownModel(id=name, **fields) for name, fields in _registry()["model"].items()]


def families() -> list[Family]:
    """Every family, and what its models have in common."""
    return [Family(**fields) for fields in _registry()["family"]]


def find_family(name: str) -> tuple[Family, str] | None:
    """The family that has a model called ``name``, and that model's id.

    ``name`` may be the id, a path or an id that ends like it, or ``OWNER_NAME``, as directories are called.
    """
    whole = name.replace("\\", "/").strip("/").lower()
    last = whole.rpartition("/")[2]
    models = [(family, model, model.lower()) for family in families() for model in family.models]
    same = [found for found in models if found[2] == whole]
    alike = [found for found in models if last in (found[2].rpartition("/")[2], *_as_directory(found[2]))]
    return next(((family, model) for family, model, _ in [*same, *alike]), None)


def _as_directory(model_id: str) -> tuple[str, ...]:
    return tuple(model_id.replace("/", between) for between in ("_", "__", "--"))


@functools.cache  # asked several times for each checkpoint
def _registry() -> dict[str, Any]:
    place = next(place for place in _PLACES if place.is_file())
    return tomllib.loads(place.read_text(encoding="utf-8"))
