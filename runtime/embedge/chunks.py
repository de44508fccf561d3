"""Long texts cut into passages, at blank lines, then at the ends of lines or sentences."""

import re
from collections.abc import Iterator
from typing import NamedTuple

# About 200 tokens of English: what a small model represents well, and below the limit of nearly all.
_PASSAGE_CHARS = 1000
_BLANK_LINES = re.compile(r"(\n[ \t]*(?:\n[ \t]*)*\n)")
_ENDS = re.compile(r"(?<=[.!?])\s+|\n")


class Passage(NamedTuple):
    """A part of a text, ``text[start:end]``, without white space around it."""

    start: int
    end: int
    text: str


def split(text: str) -> Iterator[Passage]:
    """The passages of ``text`` in their order, each of at most 1,000 characters and none of them empty."""
    offset = 0
    for paragraph in _BLANK_LINES.split(text):
        start = 0
        while start < len(paragraph):
            end = _end(paragraph, start)
            part = paragraph[start:end]
            stripped = part.strip()
            if stripped:
                first = offset + start + len(part) - len(part.lstrip())
                yield Passage(first, first + len(stripped), stripped)
            start = end
        offset += len(paragraph)


def _end(paragraph: str, start: int) -> int:
    """Where the passage that begins at ``start`` ends: at the last end of a line or sentence that fits."""
    limit = start + _PASSAGE_CHARS
    if len(paragraph) <= limit:
        return len(paragraph)
    ends = [match.end() for match in _ENDS.finditer(paragraph, start, limit)]
    return ends[-1] if ends else limit
