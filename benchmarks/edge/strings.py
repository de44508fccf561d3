"""Strings on which tokenizers are compared: some of each of ten kinds, the same ones every time."""

import random
import sys
import unicodedata
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path

PASSAGES = Path(__file__).parents[2] / "examples" / "passages.txt"

_SPACES = " \t\n\r\v\f\x1c\x1d\x1e\x1f\x85\xa0\u1680\u2000\u2003\u2009\u200a\u2028\u2029\u202f\u205f\u3000"
_SPECIAL = (
    "[CLS]",
    "[SEP]",
    "[MASK]",
    "[PAD]",
    "[UNK]",
    "[sep]",
    "[SE",
    "P]",
    "[",
    "]",
    "[[SEP]]",
    "<s>",
    "##ing",
    "##",
)
_EMOJI = (
    range(0x1F300, 0x1F650),
    range(0x1F680, 0x1F700),
    range(0x1F900, 0x1FA00),
    range(0x2600, 0x27C0),
    (0x200D, 0xFE0F, 0x20E3, *range(0x1F1E6, 0x1F200), *range(0xE0020, 0xE0080)),
)
_ALPHABETS = (
    range(0xC0, 0x250),
    range(0x370, 0x400),
    range(0x400, 0x530),
    range(0x531, 0x588),
    range(0x10A0, 0x1100),
    range(0x1E00, 0x2000),
)
_OTHER_SCRIPTS = (
    range(0x590, 0x700),
    range(0x900, 0xE00),
    range(0xE00, 0x1000),
    range(0x1200, 0x13A0),
    range(0x1780, 0x17E0),
)
_EAST_ASIAN = (
    range(0x4E00, 0xA000),
    range(0x4E00, 0x5200),
    range(0x3040, 0x3100),
    range(0xAC00, 0xD7A4),
    range(0x1100, 0x1200),
    range(0x3400, 0x4DC0),
    range(0x20000, 0x2A6E0),
    range(0xF900, 0xFB00),
    range(0xFF00, 0xFFF0),
)


def strings(each: int) -> dict[str, list[str]]:
    """So many strings of each kind."""
    return {name: [make(random.Random(f"{name} {number}")) for number in range(each)] for name, make in _KINDS.items()}


@cache
def _words() -> list[str]:
    return PASSAGES.read_text(encoding="utf-8").split()


def _english(r: random.Random) -> str:
    start = r.randrange(len(_words()) - 200)
    return " ".join(_words()[start : start + r.randint(1, 200)])


def _letters(*ranges: Sequence[int]) -> Callable[[random.Random], str]:
    """Words of letters of these ranges, among English ones and punctuation."""

    def make(r: random.Random) -> str:
        chosen = r.choice(ranges)
        words = [
            "".join(chr(r.choice(chosen)) for _ in range(r.randint(1, 8))) if r.random() < 0.7 else r.choice(_words())
            for _ in range(r.randint(1, 20))
        ]
        return r.choice([" ", " ", "", "-", ", "]).join(words)

    return make


def _combining(r: random.Random) -> str:
    marks = _of("Mn", "Mc", "Me")
    text = _english(r)[:80] if r.random() < 0.5 else _letters(*_ALPHABETS)(r)
    text = unicodedata.normalize(r.choice(["NFC", "NFD"]), text)
    return "".join(letter + "".join(r.choice(marks) for _ in range(r.choice([0, 0, 1, 1, 2, 4]))) for letter in text)


def _inserting(what: Callable[[random.Random], str]) -> Callable[[random.Random], str]:
    """English with something put in everywhere."""

    def make(r: random.Random) -> str:
        return "".join(letter + (what(r) if r.random() < 0.2 else "") for letter in _english(r)[:200])

    return make


@cache
def _of(*categories: str) -> list[str]:
    """All characters of these categories of Unicode."""
    return [chr(code) for code in range(sys.maxunicode + 1) if unicodedata.category(chr(code)) in categories]


def _long(r: random.Random) -> str:
    """Words around the limit of 100 characters, before and after what is deleted from them."""
    words = []
    for _ in range(r.randint(1, 5)):
        word = "".join(
            r.choice("abcdefgh\u00e9\ud55c\u0301\u00ad") for _ in range(r.choice([10, 95, 100, 101, 105, 300]))
        )
        words.append(word)
    return " ".join(words)


def _special(r: random.Random) -> str:
    parts = [r.choice(_SPECIAL) if r.random() < 0.6 else r.choice(_words()) for _ in range(r.randint(1, 12))]
    return r.choice(["", " ", "\u200b"]).join(parts)


def _any(r: random.Random) -> str:
    """Of all code points but surrogates, assigned or not."""
    codes = (r.randrange(r.choice([0x800, 0x3000, 0x10000, 0x20000, sys.maxunicode])) for _ in range(r.randint(0, 60)))
    return "".join(chr(code) for code in codes if not 0xD800 <= code < 0xE000)


_KINDS: dict[str, Callable[[random.Random], str]] = {
    "English": _english,
    "Latin with accents, Greek, Cyrillic, Armenian, Georgian": _letters(*_ALPHABETS),
    "Hebrew, Arabic, Indic, Thai, Ethiopic, Khmer": _letters(*_OTHER_SCRIPTS),
    "Chinese, Japanese, Korean": _letters(*_EAST_ASIAN),
    "combining marks": _combining,
    "emoji and symbols": _letters(*_EMOJI),
    "white space and control characters": _inserting(
        lambda r: r.choice([r.choice(_SPACES), r.choice(_of("Cc", "Cf"))])
    ),
    "words of 10 to 300 characters": _long,
    "added tokens such as [SEP], whole and in parts": _special,
    "any characters of Unicode": _any,
}
