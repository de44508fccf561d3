"""Find the passages of files that answer a query: a grep for meaning.

Files are cut at blank lines, and longer paragraphs at the ends of lines or sentences.
"""

import argparse
import json
import re
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from embedge.cli.options import add_model, load, positive
from embedge.errors import InputError

# About 200 tokens of English: what a small model represents well, and below the limit of nearly all.
_PASSAGE_CHARS = 1000
_ENDS = re.compile(r"(?<=[.!?])\s+|\n")


@dataclass(frozen=True)
class Passage:
    """A part of a file and the line it starts on, counted from 1."""

    file: str
    line: int
    text: str


def add(parser: argparse.ArgumentParser) -> None:
    """Options of ``embedge search``."""
    parser.add_argument("query", metavar="QUERY")
    parser.add_argument("files", metavar="FILE", nargs="+", type=Path, help="text files")
    parser.add_argument("--top", type=positive, default=5, metavar="N", help="matches to print; default: 5")
    parser.add_argument("--json", action="store_true", help="print whole passages as JSON Lines")
    add_model(parser)


def run(options: argparse.Namespace) -> int:
    """Run ``embedge search``."""
    passages = [passage for file in options.files for passage in split(str(file), _read(file))]
    if not passages:
        raise InputError("the files have no text to search")
    with load(options) as model:
        vectors = model.embed([passage.text for passage in passages], progress=bool(sys.stderr and sys.stderr.isatty()))
        scores = vectors @ model.embed_query(options.query)
    # Stable, so that equal scores stay in the files' order.
    best = (-scores).argsort(kind="stable")[: options.top]
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else 0
    for index in best:
        passage, score = passages[index], float(scores[index])
        if options.json:
            fields = {"file": passage.file, "line": passage.line, "score": round(score, 4), "text": passage.text}
            print(json.dumps(fields, ensure_ascii=False))
        else:
            line = f"{score:.3f}  {passage.file}:{passage.line}  {' '.join(passage.text.split())}"
            print(line if not width or len(line) <= width else line[: width - 1] + "…")
    return 0


def split(file: str, text: str) -> Iterator[Passage]:
    """The passages of ``text``, which was read from ``file``."""
    line = 1
    for paragraph in re.split(r"(\n[ \t]*(?:\n[ \t]*)*\n)", text):
        start = 0
        while start < len(paragraph):
            end = _end(paragraph, start)
            part = paragraph[start:end]
            if part.strip():
                leading = len(part) - len(part.lstrip())
                yield Passage(file, line + paragraph.count("\n", 0, start + leading), part.strip())
            start = end
        line += paragraph.count("\n")


def _end(paragraph: str, start: int) -> int:
    """Where the passage that begins at ``start`` ends: at the last end of a line or sentence that fits."""
    limit = start + _PASSAGE_CHARS
    if len(paragraph) <= limit:
        return len(paragraph)
    ends = [match.end() for match in _ENDS.finditer(paragraph, start, limit)]
    return ends[-1] if ends else limit


def _read(file: Path) -> str:
    raw = file.read_bytes()
    if b"\0" in raw[:8192]:
        raise InputError(f"{file} is not a text file")
    return raw.decode("utf-8", errors="replace").replace("\r\n", "\n").replace("\r", "\n")
