"""Long texts and long lists in pieces, so that memory does not grow with them."""

import functools
import re
from collections.abc import Iterable, Iterator
from typing import Literal

from tokenizers import Tokenizer

# A token costs 450 bytes while it is encoded (measured: 2.1 GB for 20 MB of English). So a list is encoded in windows
# of so many characters, and longer texts piece by piece. One thread gains nothing by large windows.
WINDOW_CHARS = 500_000
SMALL_WINDOW_CHARS = 16_000
_PIECE_CHARS = 100_000

Side = Literal["right", "left"]
"""The end of a text that is cut off where it is too long."""


class Cutter:
    """Cuts texts where the tokens of the parts are those of the whole, if it is known where."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer

    def pieces(self, text: str) -> Iterator[str]:
        """The text, piece by piece."""
        start = 0
        while start < len(text):
            end = self._cut(text, start + _PIECE_CHARS)
            yield text[start:end]
            start = end

    def ends(self, text: str, size: int, side: Side) -> Iterator[str]:
        """What a text of more than ``2 * size`` characters begins with, or ends with where ``side`` is ``"left"``.

        First some ``size`` characters, then twice as many, and so on, but never the whole text.
        """
        while len(text) > 2 * size:
            cut = self._cut(text, size if side == "right" else len(text) - size)
            part = text[:cut] if side == "right" else text[cut:]
            if len(part) < len(text):
                yield part
            size *= 2

    def _cut(self, text: str, start: int) -> int:
        """The first place from ``start`` on where the text may be cut; its end if there is none."""
        if start >= len(text):
            return len(text)
        found = self._cuts.search(text, start) if self._cuts else None
        return found.start() if found else len(text)

    @functools.cached_property
    def _cuts(self) -> re.Pattern[str] | None:
        """Where texts may be cut, ``None`` where that is not known; found when the first long text comes."""
        from embedge.cuts import find_cuts  # takes 7 ms, and few starts meet a long text

        return find_cuts(self._tokenizer)


def windows(texts: Iterable[tuple[int, str]], chars: int) -> Iterator[list[tuple[int, str]]]:
    """Texts with their numbers, as many at a time as have ``chars`` characters, or one."""
    window: list[tuple[int, str]] = []
    room = chars
    for index, text in texts:
        if window and len(text) > room:
            yield window
            window, room = [], chars
        window.append((index, text))
        room -= len(text)
    if window:
        yield window
