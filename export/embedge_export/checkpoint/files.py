"""A checkpoint's small files: JSON, and the tokenizer."""

import json
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

from embedge.errors import CheckpointError
from embedge.manifest import TokenizerFacts

_POINTER = b"version https://git-lfs"


def read_json(path: Path, *, optional: bool = False) -> Any:
    """The JSON of ``path``; ``None`` where there is no such file and it is ``optional``."""
    try:
        check_fetched(path)
        return json.loads(path.read_bytes())
    except FileNotFoundError as exc:
        if optional:
            return None
        raise CheckpointError(f"{path.parent} is no checkpoint: it has no {path.name}") from exc
    except (OSError, ValueError, RecursionError) as exc:
        raise CheckpointError(f"{path} can't be read as JSON: {exc}") from exc


def check_fetched(path: Path) -> None:
    """Raise ``CheckpointError`` where ``path`` is what Git has in place of a large file, ``OSError`` without a file."""
    with path.open("rb") as file:
        if file.read(len(_POINTER)) == _POINTER:
            raise CheckpointError(
                f"{path} is a Git LFS pointer, not the file itself: run `git lfs install` and `git lfs pull` in "
                f"{path.parent}, or fetch it again"
            )


def read_object(path: Path, *, optional: bool = False) -> dict[str, Any]:
    """The JSON object of ``path``; empty where there is no such file and it is ``optional``."""
    value = read_json(path, optional=optional)
    if value is None and optional:
        return {}
    if not isinstance(value, dict):
        raise CheckpointError(f"{path} holds a JSON {type(value).__name__} instead of an object; fetch it again")
    return value


def load_tokenizer(directory: Path, vocabulary: int, *, lower_case: bool) -> tuple[str, TokenizerFacts]:
    """``tokenizer.json`` without padding and truncation: the runtime never pads, and truncates where it can count.

    ``lower_case`` is sentence-transformers' own setting, by which it lower-cases texts before the tokenizer has them.
    """
    path = directory / "tokenizer.json"
    if not path.is_file():
        raise CheckpointError(
            f"{directory} has no tokenizer.json; make it with transformers' "
            "AutoTokenizer.from_pretrained(...).save_pretrained(...)"
        )
    fields = {**read_object(path), "padding": None, "truncation": None}
    normalizer = fields.get("normalizer")
    if lower_case and isinstance(normalizer, dict) and normalizer.get("type") == "BertNormalizer":
        # Unset, strip_accents follows lowercase, which must not change it.
        strip = normalizer.get("strip_accents")
        strip = normalizer.get("lowercase", True) if strip is None else strip
        fields["normalizer"] = {**normalizer, "lowercase": True, "strip_accents": strip}
    elif lower_case:
        steps = [{"type": "Lowercase"}, *([normalizer] if normalizer else [])]
        fields["normalizer"] = {"type": "Sequence", "normalizers": steps}
    text = json.dumps(fields, ensure_ascii=False, separators=(",", ":"))
    return text, _check_tokenizer(text, path, vocabulary)


def _check_tokenizer(text: str, path: Path, vocabulary: int) -> TokenizerFacts:
    try:
        tokenizer = Tokenizer.from_str(text)
        empty, short = tokenizer.encode("").ids, tokenizer.encode("a").ids
    except Exception as exc:
        raise CheckpointError(f"{path} is not a tokenizer that can be read: {exc}") from exc
    largest = max([*tokenizer.get_vocab(with_added_tokens=True).values(), *empty])
    if largest >= vocabulary:
        raise CheckpointError(f"{path} gives token ids up to {largest}, the model knows {vocabulary}: wrong tokenizer")
    if len(empty) != 2 or (short[0], short[-1]) != (empty[0], empty[1]):
        raise CheckpointError(
            f"{path} does not put one token before a text and one after it, as BERT's [CLS] and [SEP]; "
            "make it with transformers' BertTokenizerFast"
        )
    return TokenizerFacts(before=(empty[0],), after=(empty[1],), truncation_side="right")
