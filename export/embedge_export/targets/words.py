"""A WordPiece vocabulary as tables of numbers: characters to codes, and a trie of the pieces of words.

A word is split from its start into the longest pieces that there are (Wu et al. 2016). The trie has two roots, for
pieces that begin a word and for those that go on, and one table of transitions: from a node by a code to a node.
"""

import json
import sys
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from tokenizers import Tokenizer

from embedge_export.targets.characters import SEPARATOR, Characters, read_characters
from embedge_export.targets.refusal import refusal

IntArray = npt.NDArray[np.int64]

BETWEEN = 0
"""The code between words."""
_UNKNOWN = 1
"""The code of all characters that no piece has."""
FIRST, INNER = 0, 1
"""The trie's roots: of pieces that begin a word, and of the others."""
NOTHING = -1
"""No code, no node, no token."""


@dataclass(frozen=True)
class Words:
    """What a graph needs to know to split texts into pieces of words."""

    kept: str
    """A regular expression of RE2's: added tokens, and characters that are not deleted."""
    isolated: str
    """Another: characters that are words of their own."""
    characters: dict[str, int]
    """The rows of characters and added tokens; those that are missing have row 1 where they are isolated, else 0."""
    rows: npt.NDArray[np.int32]
    """Codes of what a character becomes, and :data:`NOTHING` behind them. Shape: ``(rows, most codes)``."""
    codes: int
    """How many codes there are."""
    transitions: dict[int, int]
    """Where a node leads to: ``node * codes + code``."""
    tokens: IntArray
    """The id of the piece that ends at a node. Shape: ``(nodes + 1,)``; the last is for :data:`NOTHING`."""
    longest: int
    """Codes of the longest piece."""
    unknown: int
    """The id of words that can't be put together."""
    most_characters: int
    """Longer words are unknown."""


def read_words(tokenizer: bytes) -> Words:
    """The tables of a ``tokenizer.json``.

    Raises:
        ExportError: a tokenizer that a graph can't have, with the reason.
    """
    try:
        read = Tokenizer.from_buffer(tokenizer)
    except Exception as exc:
        raise refusal(f"is not one that this version of tokenizers reads: {exc}") from exc
    # As tokenizers writes it: with every field, and with the ids that it gives to added tokens.
    fields = json.loads(read.to_str())
    model, added = fields["model"], fields["added_tokens"]
    if model["type"] != "WordPiece":
        raise refusal(f"is a {model['type']} model: only WordPiece, as BERT has it, can be written into a graph")
    if model["unk_token"] not in model["vocab"]:
        raise refusal(f"has no {model['unk_token']!r}, which stands for unknown words")
    for token in added:
        # A space is put behind every text.
        if token["normalized"] or token["single_word"] or token["content"].endswith(" "):
            raise refusal(f"finds its added token {token['content']!r} by other rules than BERT's, which no graph has")
    found = read_characters(read, fields)
    prefix = model["continuing_subword_prefix"]
    if not {*prefix} & _letters(found.isolated):
        raise refusal(f"marks pieces inside words by {prefix!r}, with which words can begin, too")
    specials = {token["content"]: token["id"] for token in added}
    first = {piece: number for piece, number in model["vocab"].items() if not _goes_on(piece, prefix)}
    inner = {piece[len(prefix) :]: number for piece, number in model["vocab"].items() if _goes_on(piece, prefix)}
    codes = {letter: code for code, letter in enumerate(sorted(set().union(*first, *inner)), _UNKNOWN + 1)}
    _check_order(codes, found)
    symbols = {content: len(codes) + 2 + place for place, content in enumerate(specials)}
    characters, rows = _rows(found, codes, symbols)
    kept = _class(found.removed, "^") if found.removed else _class([(0, sys.maxunicode)])
    starts = {tuple(map(codes.__getitem__, piece)): number for piece, number in first.items()}
    starts |= {(symbols[content],): number for content, number in specials.items()}
    parts = {tuple(map(codes.__getitem__, piece)): number for piece, number in inner.items()}
    size = len(codes) + len(symbols) + 2
    transitions, tokens = _trie([starts, parts], size)
    return Words(
        kept="|".join([*map(_literal, specials), kept]),
        isolated=_class(found.isolated),
        characters=characters,
        rows=rows,
        codes=size,
        transitions=transitions,
        tokens=tokens,
        longest=max(map(len, [*starts, *parts])),
        unknown=model["vocab"][model["unk_token"]],
        most_characters=model["max_input_chars_per_word"],
    )


def _goes_on(piece: str, prefix: str) -> bool:
    return len(piece) > len(prefix) and piece.startswith(prefix)


def _check_order(codes: Iterable[str], found: Characters) -> None:
    """Decomposing a text puts combining characters in an order that depends on their neighbours."""
    moved = [letter for letter in {*codes} - _letters(found.removed) if unicodedata.combining(letter)]
    if moved and "\u00e9" in found.changed:
        raise refusal(f"reorders U+{ord(moved[0]):04X} with its neighbours, which no graph does")


def _rows(
    found: Characters, codes: Mapping[str, int], symbols: Mapping[str, int]
) -> tuple[dict[str, int], npt.NDArray[np.int32]]:
    """The rows of characters and added tokens, and what stands in them; see :class:`Words`."""
    rows: dict[tuple[int, ...], int] = {(_UNKNOWN,): 0, (BETWEEN, _UNKNOWN, BETWEEN): 1}
    places = {content: rows.setdefault((BETWEEN, code, BETWEEN), len(rows)) for content, code in symbols.items()}
    removed, isolated = _letters(found.removed), _letters(found.isolated)
    for letter in dict.fromkeys([*codes, *found.changed]):
        if letter in removed or letter in symbols:
            continue
        pieces = found.changed.get(letter, f"{SEPARATOR}{letter}{SEPARATOR}" if letter in isolated else letter)
        row = tuple(BETWEEN if piece == SEPARATOR else codes.get(piece, _UNKNOWN) for piece in pieces)
        if BETWEEN in row or _UNKNOWN not in row:  # a word with anything unknown is unknown
            places[letter] = rows.setdefault(row, len(rows))
    width = max(map(len, rows))
    return places, np.array([[*row, *[NOTHING] * (width - len(row))] for row in rows], np.int32)


def _trie(roots: Sequence[Mapping[tuple[int, ...], int]], size: int) -> tuple[dict[int, int], IntArray]:
    """Transitions, and the ids at the nodes, of which the first are ``roots``; ``size`` is the number of codes."""
    transitions: dict[int, int] = {}
    tokens = {}
    for root, pieces in enumerate(roots):
        for piece, number in pieces.items():
            node = root
            for code in piece:
                node = transitions.setdefault(node * size + code, len(transitions) + len(roots))
            tokens[node] = number
    ids = np.full(len(transitions) + len(roots) + 1, NOTHING, np.int64)
    ids[list(tokens)] = list(tokens.values())
    return transitions, ids


def _letters(ranges: Iterable[tuple[int, int]]) -> set[str]:
    return {chr(code) for first, last in ranges for code in range(first, last + 1)}


def _literal(text: str) -> str:
    return "".join(f"\\x{{{ord(letter):x}}}" for letter in text)


def _class(ranges: Sequence[tuple[int, int]], negated: str = "") -> str:
    """A class of characters; ``negated`` is ``^`` for all others."""
    members = "".join(f"\\x{{{first:x}}}-\\x{{{last:x}}}" for first, last in ranges)
    return f"[{negated}{members}]"
