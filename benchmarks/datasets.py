"""Public data sets, read from a directory with one in each of ``scifact``, ``xquad-en`` and ``banking77``.

The first two are in BEIR's form (Thakur et al. 2021): documents, queries and judgements of which answer which. The
third has its authors' CSV files, with the columns ``text`` and ``category``.
"""

import csv
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_BEIR = ("corpus.jsonl", "queries.jsonl", "qrels.tsv")
FILES = {"scifact": _BEIR, "xquad-en": _BEIR, "banking77": ("train.csv", "test.csv")}
"""The files that each data set must have."""

SHORT = (3, 8)
"""The fewest and the most tokens of a text that counts as short, the two special ones included: one to six words."""


@dataclass(frozen=True)
class Retrieval:
    """Documents to find for each query; ``gains`` has, for each query, how relevant which documents are."""

    documents: list[str]
    queries: list[str]
    gains: list[dict[int, int]]
    """Keys are indices of :attr:`documents`; none is empty."""


@dataclass(frozen=True)
class Classification:
    """Texts with the category of each, to learn from and to be tested on."""

    train: list[str]
    train_labels: list[str]
    test: list[str]
    test_labels: list[str]


@dataclass(frozen=True)
class Data:
    """All three."""

    scifact: Retrieval
    xquad: Retrieval
    banking: Classification


def missing_files(directory: Path) -> list[Path]:
    """The files that are not in ``directory``."""
    return [path for path in _paths(directory) if not path.is_file()]


def load(directory: Path) -> Data:
    """Read the three data sets; ``OSError`` where a file is missing."""
    return Data(
        _retrieval(directory / "scifact"), _retrieval(directory / "xquad-en"), _classification(directory / "banking77")
    )


def passages(data: Data) -> dict[str, list[str]]:
    """1,219 texts of mixed length by their kinds, evenly spaced where a data set has more."""
    return {
        "XQuAD paragraphs": data.xquad.documents,
        "SciFact abstracts": data.scifact.documents[::20],
        "SciFact claims and XQuAD questions": _asked(data),
        "Banking77 sentences": data.banking.test[::14],
    }


def openings(data: Data) -> list[str]:
    """The first word of each of 499 claims and questions, the first two, and so on to six, once.

    int8 is farthest from fp32 on texts of a few tokens, and the data sets have none of three and few of four or five.
    """
    words = [text.split() for text in _asked(data)]
    return list(dict.fromkeys(" ".join(start[:count]) for start in words for count in range(1, 7)))


def all_texts(data: Data) -> list[str]:
    """Every text of the data sets, once."""
    sets = (data.scifact.documents, data.scifact.queries, data.xquad.documents, data.xquad.queries)
    return list(dict.fromkeys(text for texts in (*sets, data.banking.train, data.banking.test) for text in texts))


def _asked(data: Data) -> list[str]:
    return data.scifact.queries + data.xquad.queries[::6]


def _paths(directory: Path) -> list[Path]:
    return [directory / name / file for name, files in FILES.items() for file in files]


def _retrieval(directory: Path) -> Retrieval:
    corpus, queries = _lines(directory / "corpus.jsonl"), _lines(directory / "queries.jsonl")
    index = {document["_id"]: number for number, document in enumerate(corpus)}
    judged: dict[str, dict[int, int]] = {}
    for row in (directory / "qrels.tsv").read_text(encoding="utf-8").splitlines()[1:]:
        query, document, gain = row.split("\t")
        if int(gain) > 0:
            judged.setdefault(query, {})[index[document]] = int(gain)
    queries = [query for query in queries if query["_id"] in judged]
    return Retrieval(
        # As MTEB joins them.
        documents=[f"{document.get('title', '')} {document['text']}".strip() for document in corpus],
        queries=[query["text"] for query in queries],
        gains=[judged[query["_id"]] for query in queries],
    )


def _classification(directory: Path) -> Classification:
    train, test = _rows(directory / "train.csv"), _rows(directory / "test.csv")
    return Classification(
        _column(train, "text"), _column(train, "category"), _column(test, "text"), _column(test, "category")
    )


def _column(rows: Sequence[dict[str, str]], name: str) -> list[str]:
    return [row[name] for row in rows]


def _rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def _lines(path: Path) -> list[dict[str, Any]]:
    # Not splitlines, which splits at more than line feeds.
    return [json.loads(line) for line in path.read_text(encoding="utf-8").split("\n") if line]
