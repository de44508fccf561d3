"""Known models: ``models/registry.toml``, in a wheel a copy of it beside this module."""

import tomllib
from dataclasses import dataclass
from pathlib import Path

from embedge_export.encoder import Pooling

_HERE = Path(__file__).parent
_PLACES = (_HERE / "registry.toml", _HERE.parents[2] / "models" / "registry.toml")


@dataclass(frozen=True)
class KnownModel:
    """What is known of a model on the hub; ``sha256`` is that of its ``model.safetensors`` at ``revision``."""

    id: str
    revision: str
    sha256: str
    license: str
    pooling: Pooling
    max_tokens: int
    query_prompt: str
    document_prompt: str


def known_models() -> list[KnownModel]:
    """Every model of the registry."""
    place = next(place for place in _PLACES if place.is_file())
    return [KnownModel(id=name, **fields) for name, fields in tomllib.loads(place.read_text()).items()]
