"""Order texts by how well they answer a query, with a reranker: it reads query and text together.

For many texts use ``embedge search --rerank``, which reranks the best ones only.
"""

import argparse
import json
from pathlib import Path

from embedge.cli.options import add_model, load_reranker, positive
from embedge.cli.reading import batches, open_input
from embedge.cli.table import shorten

EXAMPLE = "embedge rerank 'why does dough rise?' --file passages.txt --model cross-encoder/ms-marco-MiniLM-L6-v2"


def add(parser: argparse.ArgumentParser) -> None:
    """Options of ``embedge rerank``."""
    parser.add_argument("query", metavar="QUERY", help="what the texts are to answer")
    source = parser.add_mutually_exclusive_group()
    source.add_argument("texts", metavar="TEXT", nargs="*", default=[], help="default: the lines of standard input")
    source.add_argument("--file", type=Path, metavar="FILE", help="rerank the lines of FILE, in UTF-8")
    parser.add_argument("--top", type=positive, metavar="N", help="how many texts to print; default: all")
    parser.add_argument("--json", action="store_true", help="print JSON Lines, with the index of each text")
    add_model(parser)


def run(options: argparse.Namespace) -> int:
    """Run ``embedge rerank``."""
    texts = options.texts
    if not texts:
        with open_input(options.file) as source:
            texts = [text for batch in batches(source, str(options.file or "standard input")) for text in batch]
    with load_reranker(options, options.model) as model:
        ranked = model.rank(options.query, texts, top=options.top, progress=True)
    for found in ranked:
        text = texts[found.index]
        if options.json:
            print(json.dumps({"index": found.index, "score": round(found.score, 6), "text": text}, ensure_ascii=False))
        else:
            print(shorten(f"{found.score:.4f}  {' '.join(text.split())}"))
    return 0
