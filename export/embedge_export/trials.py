"""What a model is run on to measure it: texts for embedders, pairs of them for rerankers.

Rows are compared by their cosines. Those of a reranker are the scores of a query with many texts, less their mean: as
close as they are, as alike is the order of the texts.
"""

from collections.abc import Sequence
from typing import Any

import numpy.typing as npt

from embedge.embedder import Embedder
from embedge.reranker import Reranker
from embedge.tokenizer import Tokenizer
from embedge_export.network import Network
from embedge_export.quantize.calibration import verification_texts

Model = Embedder | Reranker

_REFERENCE_TEXTS = 12
_REFERENCE_CHARS = 200
# A thousand tokens or so, or as many as the model takes: sparse attention and other changes with length show.
_LONG_CHARS = 6000

# 29 texts, each cut to these numbers of words: half a second with bge-small.
_INVARIANCE_STEP = 3
_INVARIANCE_WORDS = (2, 6, 20)

# A reranker runs so many queries with each third text: 348 pairs.
_QUERIES = 12
_CANDIDATES_STEP = 3


def reference_texts() -> list[str]:
    """A few short texts and a long one, few enough for a slow reference."""
    texts = verification_texts()
    short = [text for text in texts if len(text) <= _REFERENCE_CHARS]
    return [*short[:_REFERENCE_TEXTS], " ".join(texts)[:_LONG_CHARS]]


def outputs(model: Model, texts: Sequence[str]) -> npt.NDArray[Any]:
    """What the model makes of texts, without prompts. Shape: ``(n, dimensions)``, of a reranker (queries, texts)."""
    if isinstance(model, Embedder):
        return model.embed(texts, prompt="")
    pairs, queries = _pairs(texts)
    return _centred(model.scores(pairs), queries)


def reference_outputs(network: Network, tokenizer: Tokenizer, texts: Sequence[str], *, pairs: bool) -> npt.NDArray[Any]:
    """What :func:`outputs` must give, by the network's reference; ``pairs`` for a reranker."""
    if not pairs:
        return network.embed(tokenizer.encode(texts).ids)
    some, queries = _pairs(texts)
    return _centred(network.embed(tokenizer.encode_pairs(some).ids)[:, 0], queries)


def is_batch_invariant(model: Model) -> bool:
    """Whether some short texts, many of the same length, have the same bits in one list and each by itself."""
    words = [text.split() for text in verification_texts()[::_INVARIANCE_STEP]]
    texts = sorted({" ".join(start[:count]) for start in words for count in _INVARIANCE_WORDS})
    if isinstance(model, Embedder):
        together = model.embed(texts, prompt="")
        return all((model.embed([text], prompt="")[0] == row).all() for text, row in zip(texts, together, strict=True))
    pairs = list(zip(texts, texts[::-1], strict=True))
    scores = model.scores(pairs)
    return all(model.scores([pair])[0] == score for pair, score in zip(pairs, scores, strict=True))


def _pairs(texts: Sequence[str]) -> tuple[list[tuple[str, str]], int]:
    """Some short texts as queries, each with a third of the texts, and the number of queries."""
    queries = sorted(texts, key=len)[: min(_QUERIES, len(texts) // 3)]
    return [(query, text) for query in queries for text in texts[::-_CANDIDATES_STEP]], len(queries)


def _centred(scores: npt.NDArray[Any], queries: int) -> npt.NDArray[Any]:
    """Shape: ``(queries * texts,)`` -> ``(queries, texts)``."""
    rows = scores.reshape(queries, -1)
    centred: npt.NDArray[Any] = rows - rows.mean(axis=1, keepdims=True)
    return centred
