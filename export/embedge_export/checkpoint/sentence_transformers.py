"""What sentence-transformers' own files say of a checkpoint: pooling, limit and prompts."""

from pathlib import Path
from typing import Any

from embedge.errors import CheckpointError
from embedge_export.checkpoint.files import read_json, read_object
from embedge_export.encoder import Pooling

# What transformers writes for a tokenizer without a limit is larger by far.
_NO_LIMIT = 10**9


def transformer(directory: Path) -> dict[str, Any]:
    """The settings of the encoder's module."""
    return read_object(directory / "sentence_bert_config.json", optional=True)


def prompts(directory: Path) -> dict[str, str]:
    """Texts to be put in front of others, by their names."""
    path = directory / "config_sentence_transformers.json"
    found = read_object(path, optional=True).get("prompts") or {}
    if not isinstance(found, dict) or not all(isinstance(text, str) and is_text(text) for text in found.values()):
        raise CheckpointError(f"{path}: prompts are not texts by their names; mend it, or remove them")
    return found


def is_text(text: str) -> bool:
    """Whether it can be encoded: no half of a surrogate pair."""
    return not any("\ud800" <= character <= "\udfff" for character in text)


def pooling(directory: Path) -> Pooling | None:
    """How ``1_Pooling/config.json`` says that token vectors become one, ``None`` where there is no such file."""
    modules = read_json(directory / "modules.json", optional=True) or []
    kinds = [str(module.get("type")) if isinstance(module, dict) else repr(module) for module in modules]
    for kind in (kind.rpartition(".")[2] for kind in kinds):
        if kind not in ("Transformer", "Pooling", "Normalize"):
            raise CheckpointError(
                f"{directory / 'modules.json'} has a {kind} module, which embedge can't write: use a checkpoint that "
                "ends in pooling and normalisation"
            )
    path = directory / "1_Pooling" / "config.json"
    config = read_object(path, optional=True)
    if not config:
        return None
    flags = {name.removeprefix("pooling_mode_"): on for name, on in config.items() if name.startswith("pooling_mode_")}
    modes = {name for name, on in flags.items() if on} or {str(config.get("pooling_mode"))}
    if config.get("include_prompt") is False:
        raise CheckpointError(f"{path} leaves prompts out of the mean, which embedge can't do; use another checkpoint")
    if modes in ({"cls_token"}, {"cls"}):
        return "cls"
    if modes in ({"mean_tokens"}, {"mean"}):
        return "mean"
    raise CheckpointError(f"{path} asks for {' + '.join(sorted(modes))} pooling; embedge writes cls or mean")


def limit(directory: Path, transformer: dict[str, Any]) -> int | None:
    """The limit that sentence-transformers would take beside the model's positions, ``None`` where there is none."""
    path, name = directory / "sentence_bert_config.json", "max_seq_length"
    found = transformer.get(name)
    if found is None:
        path, name = directory / "tokenizer_config.json", "model_max_length"
        found = read_object(path, optional=True).get(name)
        if found is None or (isinstance(found, int | float) and found > _NO_LIMIT):
            return None
    if type(found) is not int or found < 3:
        raise CheckpointError(f"{path}: {name} is {found!r}, which leaves no room for a text; give max_tokens")
    return found
