"""A checkpoint's tokenizer as one ``tokenizer.json`` that gives the ids of transformers' AutoTokenizer.

What transformers takes from the files beside it is written into it, or refused by name.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, processors

from embedge.errors import CheckpointError
from embedge.manifest import TokenizerFacts
from embedge_export.checkpoint import tokenizer_config
from embedge_export.checkpoint.files import read_object
from embedge_export.checkpoint.tokenizer_config import TokenizerConfig


def load_tokenizer(directory: Path, vocabulary: int, *, lower_case: bool) -> tuple[str, TokenizerFacts]:
    """``tokenizer.json`` without padding and truncation: the runtime never pads, and truncates where it can count.

    ``lower_case`` is sentence-transformers' own setting, by which it lower-cases texts but for the added tokens.

    Raises:
        CheckpointError: a file can't be read, or one of its fields can't be applied, with file and field.
    """
    path = directory / "tokenizer.json"
    own = read_object(path, optional=True)
    if path.exists():
        _parse(own, path)
    config = tokenizer_config.read(directory, own)
    own = own or _from_vocabulary(directory, config)
    fields = {**own, "padding": None, "truncation": None}
    tokenizer = _parse(fields, path)
    fields["added_tokens"] = _added_tokens(tokenizer, config, vocabulary, own.get("added_tokens") or [])
    fields["normalizer"] = _normalizer(tokenizer, config, own.get("normalizer"), path)
    pre_tokenizer = own.get("pre_tokenizer")
    if pre_tokenizer and pre_tokenizer["type"] == "ByteLevel":
        fields["pre_tokenizer"] = {**pre_tokenizer, "add_prefix_space": config.add_prefix_space}
    if lower_case:
        fields["normalizer"] = _lower_casing(fields["normalizer"])
    text = json.dumps(fields, ensure_ascii=False, separators=(",", ":"))
    result = _parse(fields, path)
    _check_patterns(tokenizer, result, path)
    before, after = _check_ids(result, path, vocabulary)
    _check_ends(tokenizer, config, before, after)
    left = config.truncation_side == "left"
    if config.truncation_side is None:
        left = bool(own.get("truncation")) and own["truncation"].get("direction") == "Left"
    return text, TokenizerFacts(before, after, "left" if left else "right")


def _parse(fields: dict[str, Any], path: Path) -> Tokenizer:
    try:
        return Tokenizer.from_str(json.dumps(fields))
    except Exception as exc:
        raise CheckpointError(f"{path} is not a tokenizer that can be read: {exc}") from exc


def _from_vocabulary(directory: Path, config: TokenizerConfig) -> dict[str, Any]:
    """The ``tokenizer.json`` that transformers makes of BERT's ``vocab.txt``."""
    path = directory / "vocab.txt"
    if not (config.kind.from_vocabulary and path.is_file()):
        raise CheckpointError(
            f"{directory} has no tokenizer.json; make it with transformers' "
            "AutoTokenizer.from_pretrained(...).save_pretrained(...)"
        )
    try:
        with path.open(encoding="utf-8") as lines:
            vocabulary = {line.rstrip("\n"): number for number, line in enumerate(lines)}
    except (OSError, ValueError) as exc:
        raise CheckpointError(f"{path} can't be read: {exc}") from exc
    unknown, cls, sep = (str(config.special.get(f"{name}_token")) for name in ("unk", "cls", "sep"))
    for token in (unknown, cls, sep):
        if token not in vocabulary:
            raise CheckpointError(f"{path} has no {token!r}; fetch it again")
    for number, added in config.added.items():
        if added.content in (cls, sep) and vocabulary[added.content] != number:
            raise CheckpointError(
                f"{config.named[added.content]} gives {added.content!r} another number than vocab.txt; make them agree"
            )
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token=unknown))
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.BertProcessing((sep, vocabulary[sep]), (cls, vocabulary[cls]))
    tokenizer.decoder = decoders.WordPiece(prefix="##")
    normalizer = {"type": "BertNormalizer", "clean_text": True, **config.normalizer}
    return {**json.loads(tokenizer.to_str()), "normalizer": normalizer}


def _added_tokens(
    tokenizer: Tokenizer, config: TokenizerConfig, vocabulary: int, own: list[dict[str, Any]]
) -> list[dict[str, Any]]:
    """``own``, the added tokens of ``tokenizer.json``, with those that transformers adds.

    Tokens that only a class of transformers names are left out where the model has no row for their ids.
    """
    present = {token["content"] for token in own}
    sources = config.named | {
        str(token): config.named[field] for field, token in config.special.items() if field in config.named
    }
    tokens = _tokens_to_add(config, present)
    while True:
        result = Tokenizer.from_str(tokenizer.to_str())
        result.add_tokens(tokens)
        found = result.get_added_tokens_decoder()
        beyond = {token.content for number, token in found.items() if number >= vocabulary} - present
        for content in sorted(beyond & sources.keys()):
            raise CheckpointError(
                f"{sources[content]} adds {content!r} as token {result.token_to_id(content)}, the model has "
                f"{vocabulary}: remove it, or save the checkpoint with its word table resized"
            )
        if not beyond:
            break
        tokens = [token for token in tokens if token.content not in beyond]
    normalized = _normalized(own, tokens, sources)
    return [_as_json(number, token, normalized[token.content]) for number, token in sorted(found.items())]


def _tokens_to_add(config: TokenizerConfig, present: set[str]) -> list[AddedToken]:
    """As in transformers: those with flags of their own replace those of ``tokenizer.json``, ``present``."""
    tokens = list(config.added.values())
    texts = present | {token.content for token in tokens}
    special = {str(token) for token in config.special.values()}
    seen: dict[str, str] = {}
    for field, token in config.special.items():
        # A text counts once, but for repetitions within one list.
        if seen.setdefault(str(token), field.partition("[")[0]) != field.partition("[")[0]:
            continue
        if isinstance(token, AddedToken) and token not in tokens:
            tokens.append(token)
        elif isinstance(token, str) and token not in texts:
            tokens.append(AddedToken(token))
    for token in tokens:
        token.special = token.special or token.content in special
    return tokens


def _normalized(own: list[dict[str, Any]], tokens: list[AddedToken], sources: Mapping[str, str]) -> dict[str, bool]:
    """Whether each added token is looked for in normalized texts.

    The tokenizers library takes the first special token of a text, and adds the others that are not special.
    """
    special = {token["content"]: token["normalized"] for token in reversed(own) if token["special"]}
    for token in tokens:
        if token.special:
            special.setdefault(token.content, token.normalized)
    others = {(token["content"], token["normalized"]) for token in own if not token["special"]}
    others |= {(token.content, token.normalized) for token in tokens if token.content not in special}
    for content, normalized in others:
        if special.setdefault(content, normalized) != normalized:
            raise CheckpointError(
                f"{sources[content]}: {content!r} is normalized in one place and not in another; make them agree"
            )
    return special


def _as_json(number: int, token: AddedToken, normalized: bool) -> dict[str, Any]:
    flags = {name: getattr(token, name) for name in ("single_word", "lstrip", "rstrip")}
    return {"id": number, "content": token.content, **flags, "normalized": normalized, "special": token.special}


def _normalizer(tokenizer: Tokenizer, config: TokenizerConfig, own: Any, path: Path) -> Any:
    if not config.normalizer:
        return own
    if own is None:
        raise CheckpointError(f"{path}: normalizer is null, with which transformers can't load a BERT's tokenizer")
    state = json.loads(tokenizer.normalizer.__getstate__())
    if state["type"] != "BertNormalizer" or all(state[name] == value for name, value in config.normalizer.items()):
        return own
    return {**state, **config.normalizer}


def _lower_casing(own: Any) -> Any:
    """The normalizer ``own`` with what sentence-transformers puts first, unless it is there already."""
    parts = own["normalizers"] if own and own["type"] == "Sequence" else [own] if own else []
    if any(part["type"] == "Lowercase" for part in parts):
        return own
    return {"type": "Sequence", "normalizers": [{"type": "Lowercase"}, *parts]}


def _check_patterns(old: Tokenizer, new: Tokenizer, path: Path) -> None:
    """Refuse added tokens that are looked for in normalized texts, and that the changed normalizer changes.

    transformers 4 looks for them as the old normalizer writes them, transformers 5 as the new one does.
    """
    for token in new.get_added_tokens_decoder().values():
        texts = {
            each.normalizer.normalize_str(token.content) if each.normalizer else token.content for each in (old, new)
        }
        if token.normalized and len(texts) > 1:
            raise CheckpointError(
                f"{path}: added_tokens has {token.content!r}, which do_lower_case, strip_accents or "
                f"tokenize_chinese_chars of {tokenizer_config.CONFIG} changes; save it with normalized: false"
            )


def _check_ids(tokenizer: Tokenizer, path: Path, vocabulary: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The ids before and after every text."""
    try:
        empty, text = tokenizer.encode("").ids, tokenizer.encode("a").ids
        plain = tokenizer.encode("a", add_special_tokens=False).ids
    except Exception as exc:
        raise CheckpointError(f"{path} is not a tokenizer that can be read: {exc}") from exc
    largest = max([*tokenizer.get_vocab(with_added_tokens=True).values(), *empty])
    if largest >= vocabulary:
        raise CheckpointError(f"{path} gives token ids up to {largest}, the model knows {vocabulary}: wrong tokenizer")
    for count in range(len(empty) + 1):
        if 1 <= len(empty) <= 2 and [*empty[:count], *plain, *empty[count:]] == text:
            return tuple(empty[:count]), tuple(empty[count:])
    raise CheckpointError(
        f"{path} does not put one or two tokens around a text, as BERT's [CLS] and [SEP]; "
        "make it with transformers' BertTokenizerFast"
    )


def _check_ends(tokenizer: Tokenizer, config: TokenizerConfig, before: tuple[int, ...], after: tuple[int, ...]) -> None:
    """Refuse a named cls_token or sep_token that no text gets: transformers 4 ignores it, transformers 5 does not."""
    for field, ids in (("cls_token", before), ("sep_token", after)):
        token = config.special.get(field)
        if config.kind.tokens and field in config.named and tokenizer.token_to_id(str(token)) not in ids:
            raise CheckpointError(
                f"{config.named[field]} is {str(token)!r}, which tokenizer.json does not put there; make them agree"
            )
