"""The files beside ``tokenizer.json``: what transformers' fast tokenizers take from them, class by class.

Read from transformers 4.57: ``PreTrainedTokenizerBase._from_pretrained`` and the classes' ``__init__``.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, NamedTuple

from tokenizers import AddedToken

from embedge.errors import CheckpointError
from embedge_export.checkpoint.files import read_object
from embedge_export.checkpoint.tokenizer_classes import (
    BY_MODEL_TYPE,
    CAMEMBERT_LISTED,
    CLASSES,
    NORMALIZER,
    WRAPPING,
    TokenizerClass,
)

CONFIG = "tokenizer_config.json"
_OLDER = "special_tokens_map.json"
_ADDED = "added_tokens.json"
_SPECIAL = ("bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token")
_LISTED = "additional_special_tokens"
# What can't be written into tokenizer.json, or what transformers itself refuses.
_REFUSED = {
    "add_bos_token": "versions of transformers disagree on it",
    "add_special_tokens": "transformers refuses it",
    "fix_mistral_regex": "it changes the tokenizer when it is loaded",
    "from_slow": "tokenizer.json would not be used",
    "init_inputs": "it replaces arguments of the tokenizer's class",
    "add_eos_token": "versions of transformers disagree on it",
    "split_special_tokens": "tokenizer.json can't express it",
}
Token = str | AddedToken


class TokenizerConfig(NamedTuple):
    """What the files beside ``tokenizer.json`` say, with the class's own values where they are silent."""

    kind: TokenizerClass
    added: dict[int, AddedToken]
    """Tokens that are added whatever ``tokenizer.json`` has, by the ids that their files give, in order."""
    special: dict[str, Token]
    """Special tokens by their fields."""
    named: dict[str, str]
    """File and field that names a special token, by its field; file and field of an added token, by its text."""
    normalizer: dict[str, bool | None]
    """Fields of a ``BertNormalizer`` by that one's names."""
    add_prefix_space: bool
    truncation_side: Literal["left", "right"] | None
    """Which end of a long text is cut off; ``None`` where ``tokenizer.json`` decides."""


def read(directory: Path, own: Mapping[str, Any]) -> TokenizerConfig:
    """The settings of the tokenizer in ``directory``, whose ``tokenizer.json`` is ``own``, empty where there is none.

    Raises:
        CheckpointError: a field can't be applied, with its file and name.
    """
    path = directory / CONFIG
    fields = read_object(path, optional=True)
    name = _class_name(directory, fields)
    _check(path, fields)
    if not own and not fields.get("do_basic_tokenize", True):
        raise CheckpointError(f"{path}: do_basic_tokenize false is supported beside a tokenizer.json only")
    sources = dict.fromkeys(fields, CONFIG)
    added = _added_tokens(directory, fields, sources, own)
    padding = own.get("padding") or {}
    if "pad_token" not in {**CLASSES[name].tokens, **fields} and padding:
        fields["pad_token"], sources["pad_token"] = padding["pad_token"], "tokenizer.json: padding"
    # A token of added_tokens.json is added, but its flags are not those of the special token of that text.
    flags = {token.content: token for token, source in added.values() if source != _ADDED}
    special, named = _special_tokens(directory, name, fields, sources, flags)
    kind = CLASSES[name]
    return TokenizerConfig(
        kind=kind,
        added={number: token for number, (token, _) in added.items()},
        special=special,
        named=named | {token.content: f"{directory / source}" for token, source in added.values()},
        normalizer={
            NORMALIZER[field]: _flag(path, fields, field, default=None if field == "strip_accents" else True)
            for field in kind.normalizer
        },
        add_prefix_space=bool(_flag(path, fields, "add_prefix_space", default=False)),
        truncation_side=_side(path, fields),
    )


def _class_name(directory: Path, fields: Mapping[str, Any]) -> str:
    """The tokenizer's class, without "Fast": as tokenizer_config.json says, else config.json, else its model type."""
    config = read_object(directory / "config.json", optional=True)
    for path, maps in ((directory / CONFIG, fields), (directory / "config.json", config)):
        own_code = maps.get("auto_map")
        if isinstance(own_code, list) or (isinstance(own_code, dict) and own_code.get("AutoTokenizer")):
            raise CheckpointError(
                f"{path}: auto_map has AutoTokenizer, a tokenizer with code of its own, which embedge does not run"
            )
    where, field = directory / CONFIG, "tokenizer_class"
    name = fields.get(field)
    if name is None:
        where, name = directory / "config.json", config.get(field)
    if name is None:
        field, name = "model_type", BY_MODEL_TYPE.get(str(config.get("model_type")))
    if name is None:
        raise CheckpointError(
            f"{where}: {field} {config.get(field)!r} does not say which tokenizer's class it is; "
            f"add tokenizer_class to {CONFIG}"
        )
    found = str(name).removesuffix("Fast")
    if found not in CLASSES:
        raise CheckpointError(
            f"{where}: {field} {name!r} is not supported; embedge knows {', '.join(CLASSES)}, each with or without Fast"
        )
    return found


def _check(path: Path, fields: Mapping[str, Any]) -> None:
    for field, why in _REFUSED.items():
        if fields.get(field) or (field == "add_special_tokens" and field in fields):
            raise CheckpointError(f"{path}: {field} {fields[field]!r} is not supported, because {why}")
    if "tokenizer_file" in fields:
        raise CheckpointError(f"{path}: tokenizer_file names another file; remove it where that is tokenizer.json")
    files = fields.get("fast_tokenizer_files")
    if files not in (None, [], ["tokenizer.json"]):
        raise CheckpointError(f"{path}: fast_tokenizer_files {files!r}: which is read depends on transformers' version")


def _flag(path: Path, fields: Mapping[str, Any], field: str, *, default: bool | None) -> bool | None:
    value = fields.get(field, default)
    if isinstance(value, bool) or (value is None and default is None):
        return value
    raise CheckpointError(f"{path}: {field} is {value!r}, neither true nor false")


def _side(path: Path, fields: Mapping[str, Any]) -> Literal["left", "right"] | None:
    side = fields.get("truncation_side")
    if "truncation_side" in fields and side not in ("left", "right"):
        raise CheckpointError(f"{path}: truncation_side is {side!r}, neither 'left' nor 'right'")
    return "left" if side == "left" else side and "right"


def _added_tokens(
    directory: Path, fields: dict[str, Any], sources: dict[str, str], own: Mapping[str, Any]
) -> dict[int, tuple[AddedToken, str]]:
    """The added tokens by their ids, in order, each with its file and field.

    Where ``added_tokens_decoder`` is missing, the older files count: special_tokens_map.json, whose fields replace
    those of tokenizer_config.json, and added_tokens.json.
    """
    found: dict[int, tuple[AddedToken, str]] = {}
    if "added_tokens_decoder" in fields:
        source = f"{CONFIG}: added_tokens_decoder"
        where = f"{directory / source}"
        if not isinstance(fields["added_tokens_decoder"], dict):
            raise CheckpointError(f"{where} is not an object")
        for number, token in fields["added_tokens_decoder"].items():
            found[_number(where, number)] = (_token(where, token), source)
    else:
        _older_special_tokens(directory, fields, sources)
        special = {str(fields[field]) for field in _SPECIAL if fields.get(field) is not None}
        special |= {str(token) for token in fields.get(_LISTED) or []}
        for content, number in read_object(directory / _ADDED, optional=True).items():
            token = AddedToken(content, normalized=content not in special, special=content in special)
            found[_number(f"{directory / _ADDED}: {content!r}", number)] = (token, _ADDED)
        for token in own.get("added_tokens") or []:
            flags = {name: value for name, value in token.items() if name != "id"}
            found[token["id"]] = (_token(f"{directory / 'tokenizer.json'}: added_tokens", flags), "tokenizer.json")
    return dict(sorted(found.items()))


def _older_special_tokens(directory: Path, fields: dict[str, Any], sources: dict[str, str]) -> None:
    """Put the fields of special_tokens_map.json in place of those of tokenizer_config.json."""
    for field, value in read_object(directory / _OLDER, optional=True).items():
        where = f"{directory / _OLDER}: {field}"
        if isinstance(value, dict):
            value = _token(where, {**value, "special": True})
        elif field == _LISTED and isinstance(value, list):
            tokens = [
                _token(where, {**token, "special": True}) if isinstance(token, dict) else token for token in value
            ]
            value = list(fields.get(_LISTED) or [])
            value += [token for number, token in enumerate(tokens) if token not in [*value, *tokens[:number]]]
        fields[field], sources[field] = value, _OLDER


def _special_tokens(
    directory: Path, name: str, fields: Mapping[str, Any], sources: Mapping[str, str], added: Mapping[str, AddedToken]
) -> tuple[dict[str, Token], dict[str, str]]:
    """Special tokens by their fields, and file and field of those that a file names."""
    values = {field: fields.get(field, CLASSES[name].tokens.get(field)) for field in _SPECIAL}
    listed = {_LISTED: CAMEMBERT_LISTED if name == "CamembertTokenizer" else None, **fields}
    for field in (_LISTED, "extra_special_tokens"):
        tokens = listed.get(field) or []
        if not isinstance(tokens, list | dict):
            raise CheckpointError(f"{directory / sources[field]}: {field} is {tokens!r}, not a list")
        several = tokens.values() if isinstance(tokens, dict) else tokens
        values |= {f"{field}[{number}]": token for number, token in enumerate(several)}
    special: dict[str, Token] = {}
    named: dict[str, str] = {}
    for label, value in values.items():
        source = sources.get(label.partition("[")[0])
        where = f"{directory / source}: {label}" if source else f"{name}: {label}"
        if isinstance(value, dict) and value.get("__type") == "AddedToken":
            value = _token(where, {flag: on for flag, on in value.items() if flag != "__type"})
        if source and label in _SPECIAL:
            value = added.get(str(value), value)
        if isinstance(value, str) and label == "mask_token" and CLASSES[name].mask:
            value = AddedToken(value, **CLASSES[name].mask)
        elif isinstance(value, str) and label in _SPECIAL and name in WRAPPING:
            value = AddedToken(value)
        if value in (None, ""):
            continue
        if not isinstance(value, str | AddedToken):
            raise CheckpointError(f"{where} is {value!r}, neither a text nor an AddedToken")
        special[label] = value
        if source:
            named[label] = where
    return special, named


def _token(where: str, flags: Any) -> AddedToken:
    try:
        return AddedToken(**flags)
    except TypeError as exc:
        raise CheckpointError(f"{where}: {flags!r} is not a token ({exc})") from exc


def _number(where: str, value: Any) -> int:
    try:
        return int(value)
    except (TypeError, ValueError) as exc:
        raise CheckpointError(f"{where}: {value!r} is not a token's number") from exc
