"""Scores of rerankers as clients expect them: between 0 and 1, or raw."""

import numpy as np

from embedge.reranker import Reranker
from embedge.vectors import FloatArray

# Just below 1 in float32: what a score of 1 stands for, whose own logit would be infinite.
_NEARLY_ONE = 1 - 2**-24
_SMALLEST = 2.0**-149


def as_relevance(model: Reranker, scores: FloatArray) -> FloatArray:
    """The scores between 0 and 1; those of a ``model`` whose own are not go through a sigmoid."""
    if model.squashed:
        return scores
    relevance: FloatArray = (1 / (1 + np.exp(-np.clip(scores.astype(np.float64), -700, 700)))).astype(np.float32)
    return relevance


def as_logits(model: Reranker, scores: FloatArray) -> FloatArray:
    """The scores before any sigmoid. Where the ``model`` applies one it is undone: to 0.1 % up to 10, at most 17."""
    if not model.squashed:
        return scores
    inner = np.clip(scores.astype(np.float64), _SMALLEST, _NEARLY_ONE)
    logits: FloatArray = (np.log(inner) - np.log1p(-inner)).astype(np.float32)
    return logits
