"""How well vectors do what they are for, and how near they are to others."""

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.floating]
Array = npt.NDArray[np.float64]
Indices = npt.NDArray[np.intp]

PERCENTILES = (1, 5, 50)
RESAMPLES = 10_000
CONFIDENCE = 95
"""Per cent of the resampled means that an interval holds."""


class Interval(NamedTuple):
    """A mean, and between what it may lie."""

    mean: float
    lower: float
    upper: float


def summary(values: Array) -> dict[str, float]:
    """Mean, least and some percentiles, rounded to 6 decimals."""
    numbers = {"mean": values.mean(), "least": values.min()}
    numbers |= {f"percentile_{share}": np.percentile(values, share) for share in PERCENTILES}
    return {name: round(float(value), 6) for name, value in numbers.items()}


def ndcg_at_10(ranking: Sequence[int], gains: Mapping[int, int]) -> float:
    """Normalised discounted cumulative gain of one query's documents, the best first; 0 to 1.

    Järvelin and Kekäläinen 2002, with linear gains as in trec_eval; ``gains`` of documents that it does not have are 0.
    """
    ideal = _discounted(sorted(gains.values(), reverse=True))
    return _discounted([gains.get(document, 0) for document in ranking]) / ideal


def nearest(documents: FloatArray, queries: FloatArray, count: int) -> Indices:
    """The ``count`` documents with the greatest cosine to each query, the best first; all where there are fewer.

    Shapes: ``(documents, width)``, ``(queries, width)``, both of length 1 -> ``(queries, count)``. Equal cosines keep
    the documents' order.
    """
    best: Indices = np.argsort(-(queries @ documents.T), axis=1, kind="stable")[:, :count]
    return best


def retrieval_scores(rankings: Indices, gains: Sequence[Mapping[int, int]]) -> Array:
    """100 times the nDCG@10 of each query. Shapes: ``(queries, 10)`` -> ``(queries,)``."""
    each = [ndcg_at_10(ranking, relevant) for ranking, relevant in zip(rankings.tolist(), gains, strict=True)]
    return 100 * np.array(each)


def same_share(rankings: Indices, others: Indices) -> Array:
    """The share of each query's documents that both have, in any order. Shapes: ``(queries, n)`` -> ``(queries,)``."""
    return np.array([np.isin(a, b).mean() for a, b in zip(rankings, others, strict=True)])


def rank_correlation(a: FloatArray, b: FloatArray) -> float:
    """Spearman's: the correlation of the ranks of two lists of values, equal values at their mean rank."""
    return float(np.corrcoef(_ranks(a), _ranks(b))[0, 1])


def centroid_scores(
    train: FloatArray, train_labels: Sequence[str], test: FloatArray, test_labels: Sequence[str]
) -> Array:
    """100 for each of ``test`` whose cosine is greatest to the mean vector of its own label in ``train``, else 0.

    Shapes: ``(n, width)``, ``(m, width)``, all of length 1 -> ``(m,)``.
    """
    names = sorted(set(train_labels))
    labels = np.array(train_labels)
    centroids = np.stack([train[labels == name].mean(axis=0, dtype=np.float64) for name in names])
    centroids /= np.linalg.norm(centroids, axis=1, keepdims=True)
    nearest = np.array(names)[np.argmax(test @ centroids.T, axis=1)]
    return np.where(nearest == np.array(test_labels), 100.0, 0.0)


def paired_interval(differences: Sequence[Array], *, resamples: int = RESAMPLES) -> Interval:
    """The mean over sets of each set's mean difference, and its 95 % interval by the paired percentile bootstrap.

    ``differences`` has for each set one system's score minus the other's, item by item: ``(items,)``. The items of each
    set are drawn anew, as many as there are and with replacement, always the same ones (Efron and Tibshirani 1993,
    chapter 13; Koehn 2004 for systems compared on the same items). What matters of a draw is how often each different
    value comes up, and that is multinomial: a draw for each value, not for each item, and few values differ.
    """
    random = np.random.default_rng(0)
    means = np.zeros(resamples)
    for items in differences:
        values, counts = np.unique(items, return_counts=True)
        drawn = random.multinomial(len(items), counts / len(items), size=resamples)
        means += drawn @ values / len(items) / len(differences)
    tail = (100 - CONFIDENCE) / 2
    lower, upper = np.percentile(means, [tail, 100 - tail])
    return Interval(float(np.mean([items.mean() for items in differences])), float(lower), float(upper))


def _ranks(values: FloatArray) -> Array:
    _, group, sizes = np.unique(values, return_inverse=True, return_counts=True)
    ranks: Array = (np.cumsum(sizes) - (sizes - 1) / 2)[group]
    return ranks


def _discounted(gains: Sequence[int]) -> float:
    return math.fsum(gain / math.log2(rank + 2) for rank, gain in enumerate(gains[:10]))
