"""Find the passages of files that answer a query: a grep for meaning.

Files are cut into passages (see ``embedge.chunks``).
"""

import argparse
import codecs
import json
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from embedge.chunks import split
from embedge.cli.options import add_model, load, load_reranker, positive
from embedge.cli.reading import open_input
from embedge.cli.table import shorten
from embedge.errors import InputError

EXAMPLE = "embedge search 'why does dough rise?' notes/*.txt"


class _Found(NamedTuple):
    """A passage of a file, and the line it starts on, counted from 1."""

    file: str
    line: int
    text: str


def add(parser: argparse.ArgumentParser) -> None:
    """Options of ``embedge search``."""
    parser.add_argument("query", metavar="QUERY", help="what to look for, as a question or in words")
    parser.add_argument("files", metavar="FILE", nargs="+", type=Path, help="text files, in UTF-8")
    parser.add_argument("--top", type=positive, default=5, metavar="N", help="how many passages to print; default: 5")
    parser.add_argument("--json", action="store_true", help="print JSON Lines, with whole passages")
    parser.add_argument("--rerank", metavar="BUNDLE", help="a reranker that orders the best passages anew")
    parser.add_argument(
        "--candidates",
        type=positive,
        default=50,
        metavar="N",
        help="how many passages --rerank reads; default: 50",
    )
    add_model(parser)


def run(options: argparse.Namespace) -> int:
    """Run ``embedge search``."""
    passages = [passage for file in options.files for passage in _passages(file)]
    if not passages:
        raise InputError("the files have no text to search")
    with load(options) as model:
        vectors = model.embed([passage.text for passage in passages], progress=True)
        scores = model.similarity(vectors, model.embed_query(options.query))[:, 0]
    # Stable, so that equal scores stay in the files' order.
    order = (-scores).argsort(kind="stable")
    best = [(int(index), float(scores[index])) for index in order[: options.top]]
    if options.rerank:
        candidates = [int(index) for index in order[: max(options.candidates, options.top)]]
        with load_reranker(options, options.rerank) as reranker:
            texts = [passages[index].text for index in candidates]
            ranked = reranker.rank(options.query, texts, top=options.top, progress=True)
        best = [(candidates[found.index], found.score) for found in ranked]
    for index, score in best:
        passage = passages[index]
        if options.json:
            fields = {"file": passage.file, "line": passage.line, "score": round(score, 4), "text": passage.text}
            print(json.dumps(fields, ensure_ascii=False))
        else:
            print(shorten(f"{score:.3f}  {passage.file}:{passage.line}  {' '.join(passage.text.split())}"))
    return 0


def _passages(file: Path) -> Iterator[_Found]:
    text, line, done = _read(file), 1, 0
    for passage in split(text):
        line += text.count("\n", done, passage.start)
        done = passage.start
        yield _Found(str(file), line, passage.text)


def _read(file: Path) -> str:
    with open_input(file) as source:
        raw = source.readall().removeprefix(codecs.BOM_UTF8)
    if b"\0" in raw[:8192]:
        raise InputError(f"{file} is not a text file")
    return raw.decode("utf-8", errors="replace").replace("\r\n", "\n").replace("\r", "\n")
