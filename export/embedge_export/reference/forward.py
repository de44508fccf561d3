"""The encoder's parts in numpy, straight from the equations, in the precision of what they are given.

They are what a freshly written graph is compared with (:mod:`embedge_export.reference.equations`), and what
calibration runs (:mod:`embedge_export.quantize`). They share no code with the graph, so a mistake in one does
not hide in the other.
"""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from embedge_export.encoder import Activation, LayerNorm

Array = npt.NDArray[Any]  # float32 or float64

# Rows taken through the activation at a time, so that its intermediate values stay in the cache.
_ROWS = 64


def normalize(x: Array, norm: LayerNorm, epsilon: float) -> Array:
    """Layer normalisation (Ba et al. 2016). Shape: ``(tokens, hidden)``."""
    x = x - x.mean(axis=-1, keepdims=True)
    normed: Array = x / np.sqrt((x * x).mean(axis=-1, keepdims=True) + epsilon) * norm.weight + norm.bias
    return normed


def attend(qkv: Array, lengths: Sequence[int], heads: int) -> Array:
    """Attention within each text of ``lengths`` tokens. Shape: ``(tokens, 3 * hidden)`` -> ``(tokens, hidden)``."""
    context = np.empty((len(qkv), qkv.shape[1] // 3), qkv.dtype)
    start = 0
    for length in lengths:
        rows = slice(start, start + length)
        q, k, v = (part.reshape(length, heads, -1).transpose(1, 0, 2) for part in np.split(qkv[rows], 3, axis=1))
        scores = q @ k.transpose(0, 2, 1) / math.sqrt(q.shape[-1])
        weights = np.exp(scores - scores.max(axis=-1, keepdims=True))
        context[rows] = (weights / weights.sum(axis=-1, keepdims=True) @ v).transpose(1, 0, 2).reshape(length, -1)
        start += length
    return context


def activate(x: Array, activation: Activation) -> Array:
    """The activation between the two feed-forward matrices."""
    if activation == "relu":
        return np.maximum(x, 0)
    out = np.empty_like(x)
    for start in range(0, len(x), _ROWS):
        part = x[start : start + _ROWS]
        if activation == "gelu_tanh":
            inner = np.tanh(math.sqrt(2 / math.pi) * (part + 0.044715 * part**3))
        else:
            inner = erf(part * math.sqrt(0.5))
        out[start : start + _ROWS] = 0.5 * part * (1 + inner)
    return out


def erf(x: Array) -> Array:
    """The error function to 1.5e-7 (Abramowitz and Stegun 1964, formula 7.1.26); numpy has none."""
    magnitude = np.abs(x)
    t = 1 / (1 + 0.3275911 * magnitude)
    series = t * (0.254829592 + t * (-0.284496736 + t * (1.421413741 + t * (-1.453152027 + t * 1.061405429))))
    signed: Array = np.copysign(1 - series * np.exp(-magnitude * magnitude), x)
    return signed
