"""What a BERT tokenizer makes of each character, found by asking it for every character of Unicode.

BERT's normalizer and pre-tokenizer look at one character at a time: they delete it, replace it, take it for white
space, or make a word of its own of it. So what they do to a text is what they do to its characters: a table has it all.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tokenizers import Tokenizer

from embedge_export.targets.refusal import refusal

SEPARATOR = "\n"
"""What stands between words, where a character makes several of them."""

# So many characters are asked for together, then a part of them, then each.
_BLOCK, _PARTS = 256, 16
_SURROGATES = range(0xD800, 0xE000)
_LAST = 0x110000
# A letter that no tokenizer changes.
_LETTER = "a"
# Those that look at one character at a time; Sequence has others in it.
_NORMALIZERS = ("BertNormalizer", "Lowercase")


@dataclass(frozen=True)
class Characters:
    """What becomes of every character that is not left as it is, inside the word in which it stands."""

    removed: list[tuple[int, int]] = field(default_factory=list)
    """Ranges of those that are deleted: first and last."""
    isolated: list[tuple[int, int]] = field(default_factory=list)
    """Ranges of those that stay as they are, and are words of their own."""
    changed: dict[str, str] = field(default_factory=dict)
    """What each of the others becomes, with :data:`SEPARATOR` where a word ends."""


def read_characters(tokenizer: Tokenizer, fields: Mapping[str, Any]) -> Characters:
    """Ask ``tokenizer``, whose ``tokenizer.json`` has ``fields``, for each character of Unicode.

    Raises:
        ExportError: a normalizer or a pre-tokenizer that looks at more than one character at a time.
    """
    kinds = [*_kinds(fields["normalizer"]), *_kinds(fields["pre_tokenizer"])]
    if kinds[-1:] != ["BertPreTokenizer"] or not set(kinds[:-1]) <= {*_NORMALIZERS}:
        raise refusal(
            f"has {' and '.join(kinds) or 'no pre-tokenizer'}: only BERT's normalizer and pre-tokenizer can be written "
            "into a graph"
        )
    found = Characters()
    for first in range(0, _LAST, _BLOCK):
        if first not in _SURROGATES:
            _ask(tokenizer, range(first, first + _BLOCK), found)
    return found


def _kinds(component: dict[str, Any] | None) -> Iterator[str]:
    if component is not None and component["type"] == "Sequence":
        for member in component.get("normalizers") or component.get("pretokenizers") or []:
            yield from _kinds(member)
    elif component is not None:
        yield component["type"]


def _ask(tokenizer: Tokenizer, codes: Sequence[int], found: Characters) -> None:
    """Note what becomes of some characters; of many at once where they all have the same fate."""
    characters = list(map(chr, codes))
    # A letter on either side of each: a symbol between two that are words of their own would look like one.
    text = f"{_LETTER}{_LETTER.join(characters)}{_LETTER}"
    normalized = tokenizer.normalizer.normalize_str(text) if tokenizer.normalizer else text
    pieces = [piece for piece, _ in tokenizer.pre_tokenizer.pre_tokenize_str(normalized)]
    if pieces == [text]:
        return
    if pieces == [_LETTER * (len(codes) + 1)]:
        _extend(found.removed, codes)
    elif pieces[::2] == [_LETTER] * (len(codes) + 1) and pieces[1::2] == characters:
        _extend(found.isolated, codes)
    elif len(codes) == 1:
        found.changed[characters[0]] = SEPARATOR.join(pieces)[1:-1]
    else:
        part = len(codes) // _PARTS
        for start in range(0, len(codes), part):
            _ask(tokenizer, codes[start : start + part], found)


def _extend(ranges: list[tuple[int, int]], codes: Sequence[int]) -> None:
    if ranges and ranges[-1][1] == codes[0] - 1:
        ranges[-1] = (ranges[-1][0], codes[-1])
    else:
        ranges.append((codes[0], codes[-1]))
