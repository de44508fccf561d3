"""How many tokens a model takes."""

from pathlib import Path
from typing import Any

from embedge.errors import CheckpointError
from embedge_export.checkpoint.files import read_object
from embedge_export.checkpoint.registry import KnownModel

# What transformers writes for a tokenizer without a limit is larger by far.
_NO_LIMIT = 10**9


def _stated_limit(encoder: Path, path: Path, settings: dict[str, Any]) -> int | None:
    """The limit that sentence-transformers would take beside the model's positions, ``None`` where none is told."""
    name = "max_seq_length"
    told = settings.get(name)
    if told is None:
        path, name = encoder / "tokenizer_config.json", "model_max_length"
        config = read_object(path, optional=True)
        told = config.get(name, config.get("max_len"))  # its old name
        if told is None or (isinstance(told, int | float) and told > _NO_LIMIT):
            return None
    if type(told) is not int or told < 3:
        raise CheckpointError(f"{path}: {name} is {told!r}, which leaves no room for a text; pass max_tokens")
    return told


def read_limit(
    encoder: Path, asked: int | None, path: Path, settings: dict[str, Any], known: KnownModel | None, positions: int
) -> int:
    """The model's longest input in tokens; ``settings`` are those of the file ``path``."""
    if asked is not None:
        if not 3 <= asked <= positions:
            raise CheckpointError(f"max_tokens={asked}: the model has positions for 3 to {positions} tokens")
        return asked
    told = _stated_limit(encoder, path, settings)
    if told is None:
        return min(known.max_tokens if known else positions, positions)
    return min(told, positions)
