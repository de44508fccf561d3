"""How well vectors do what they are for, and how near they are to others."""

import math
from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.floating]

PERCENTILES = (1, 5, 50)


def summary(values: npt.NDArray[np.float64]) -> dict[str, float]:
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


def retrieval_score(documents: FloatArray, queries: FloatArray, gains: Sequence[Mapping[int, int]]) -> float:
    """100 times the mean nDCG@10 of ranking documents by their cosine to each query.

    Shapes: ``(documents, width)``, ``(queries, width)``, both of length 1. Equal cosines keep the documents' order.
    """
    scores = queries @ documents.T
    rankings = np.argsort(-scores, axis=1, kind="stable")[:, :10].tolist()
    each = [ndcg_at_10(ranking, relevant) for ranking, relevant in zip(rankings, gains, strict=True)]
    return 100 * math.fsum(each) / len(each)


def centroid_accuracy(
    train: FloatArray, train_labels: Sequence[str], test: FloatArray, test_labels: Sequence[str]
) -> float:
    """Per cent of ``test`` whose cosine is greatest to the mean vector of their own label in ``train``.

    Shapes: ``(n, width)``, ``(m, width)``, all of length 1.
    """
    names = sorted(set(train_labels))
    labels = np.array(train_labels)
    centroids = np.stack([train[labels == name].mean(axis=0, dtype=np.float64) for name in names])
    centroids /= np.linalg.norm(centroids, axis=1, keepdims=True)
    nearest: list[int] = np.argmax(test @ centroids.T, axis=1).tolist()
    right = sum(names[index] == label for index, label in zip(nearest, test_labels, strict=True))
    return 100 * right / len(test_labels)


def _discounted(gains: Sequence[int]) -> float:
    return math.fsum(gain / math.log2(rank + 2) for rank, gain in enumerate(gains[:10]))
