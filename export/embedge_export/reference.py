"""The encoder in numpy, straight from the equations: what a freshly written graph is compared with.

It shares no code with the graph, so that a mistake in one does not hide in the other, and needs no torch.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from embedge_export.encoder import Encoder, LayerNorm, Linear, Pooling

Array = npt.NDArray[Any]  # float64 throughout

_erf: Callable[[Array], Array] = np.vectorize(math.erf, otypes=[np.float64])


def embed(encoder: Encoder, pooling: Pooling, ids: Sequence[int]) -> Array:
    """The vector of one text in double precision. Shape: ``(tokens,)`` -> ``(hidden,)``."""
    assert isinstance(encoder.words, np.ndarray)
    x = encoder.words[list(ids)].astype(np.float64) + encoder.positions[: len(ids)]
    x = _norm(x, encoder.norm, encoder.epsilon)
    for layer in encoder.layers:
        a = _linear(_attention(_linear(x, layer.qkv), encoder.heads), layer.attention_output)
        x = _norm(x + a, layer.attention_norm, encoder.epsilon)
        f = _linear(_activate(_linear(x, layer.intermediate), encoder.activation), layer.output)
        x = _norm(x + f, layer.output_norm, encoder.epsilon)
    pooled = x[0] if pooling == "cls" else x.mean(axis=0)
    vector: Array = pooled / np.linalg.norm(pooled)
    return vector


def _linear(x: Array, linear: object) -> Array:
    assert isinstance(linear, Linear)
    y: Array = x @ linear.weight.astype(np.float64) + linear.bias
    return y


def _norm(x: Array, norm: LayerNorm, epsilon: float) -> Array:
    x = x - x.mean(axis=-1, keepdims=True)
    normed: Array = x / np.sqrt((x * x).mean(axis=-1, keepdims=True) + epsilon) * norm.weight + norm.bias
    return normed


def _attention(qkv: Array, heads: int) -> Array:
    """Shape: ``(tokens, 3 * hidden)`` -> ``(tokens, hidden)``."""
    tokens = len(qkv)
    q, k, v = (part.reshape(tokens, heads, -1).transpose(1, 0, 2) for part in np.split(qkv, 3, axis=1))
    scores = q @ k.transpose(0, 2, 1) / math.sqrt(q.shape[-1])
    weights = np.exp(scores - scores.max(axis=-1, keepdims=True))
    context: Array = weights / weights.sum(axis=-1, keepdims=True) @ v
    return context.transpose(1, 0, 2).reshape(tokens, -1)


def _activate(x: Array, activation: str) -> Array:
    y: Array
    if activation == "relu":
        y = np.maximum(x, 0)
    elif activation == "gelu_tanh":
        y = 0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))
    else:
        y = 0.5 * x * (1 + _erf(x / math.sqrt(2)))
    return y
