"""The vectors that a checkpoint must give, by the equations in double precision; needs no torch."""

import itertools
import math
from collections.abc import Callable, Sequence

import numpy as np

from embedge_export.encoder import DenseActivation, Encoder, Head, HeadNorm, Linear, Pooling, QuantizedLinear
from embedge_export.reference.forward import Array, activate, attend, normalize

_DENSE_ACTIVATIONS: dict[DenseActivation, Callable[[Array], Array]] = {
    "identity": lambda x: x,
    "tanh": np.tanh,
    "relu": lambda x: np.maximum(x, 0),
    "gelu": lambda x: activate(x, "gelu"),
    "sigmoid": lambda x: 1 / (1 + np.exp(-x)),
}


def embed(encoder: Encoder, head: Head, texts: Sequence[Sequence[int]]) -> Array:
    """The vectors of texts. Shape: ragged ``(n, tokens)`` -> ``(n, dimensions)``."""
    ends = list(itertools.accumulate(len(ids) for ids in texts))
    return apply_head(head, np.split(layer_outputs(encoder, texts)[-1], ends[:-1]))


def apply_head(head: Head, states: Sequence[Array]) -> Array:
    """The vectors of texts from their tokens'. Shape: ragged ``(n, tokens, hidden)`` -> ``(n, dimensions)``."""
    x = pool(head, states)
    for layer in head.layers:
        if isinstance(layer, HeadNorm):
            x = normalize(x, layer.norm, layer.epsilon)
        else:
            x = activate_dense(_linear(x, layer.linear), layer.activation)
    if head.normalize:
        x = x / np.linalg.norm(x, axis=1, keepdims=True)
    return x[:, : head.dimensions]


def pool(head: Head, states: Sequence[Array]) -> Array:
    """What the head's first Dense module reads. Shape: ragged ``(n, tokens, hidden)`` -> ``(n, poolings * hidden)``."""
    return np.array([np.concatenate([_pool(state, pooling) for pooling in head.pooling]) for state in states])


def activate_dense(x: Array, activation: DenseActivation) -> Array:
    """The activation after a Dense module."""
    return _DENSE_ACTIVATIONS[activation](x)


def _pool(states: Array, pooling: Pooling) -> Array:
    """Shape: ``(tokens, hidden)`` -> ``(hidden,)``."""
    tokens = len(states)
    numbers = np.arange(1, tokens + 1)
    pooled: Array = {
        "cls": lambda: states[0],
        "lasttoken": lambda: states[-1],
        "max": lambda: states.max(axis=0),
        "mean": lambda: states.mean(axis=0),
        "mean_sqrt_len_tokens": lambda: states.sum(axis=0) / math.sqrt(tokens),
        "weightedmean": lambda: numbers @ states / numbers.sum(),
    }[pooling]()
    return pooled


def layer_outputs(encoder: Encoder, texts: Sequence[Sequence[int]]) -> list[Array]:
    """The embeddings of texts, one after the other, then the output of each layer.

    All texts go through a layer together, so that its weights are converted to double precision once.
    Shape: ragged ``(n, tokens)`` -> ``(tokens of all, hidden)`` each.
    """
    assert isinstance(encoder.words, np.ndarray)
    words = encoder.words[np.concatenate([encoder.word_ids(ids) for ids in texts])].astype(np.float64)
    positions = np.concatenate([encoder.offsets(ids) for ids in texts])
    lengths = [len(ids) for ids in texts]
    x = normalize(words + positions, encoder.norm, encoder.epsilon)
    outputs = [x]
    for layer in encoder.layers:
        context = attend(_linear(x, layer.qkv), lengths, encoder.heads)
        x = normalize(x + _linear(context, layer.attention_output), layer.attention_norm, encoder.epsilon)
        inner = activate(_linear(x, layer.intermediate), encoder.activation)
        x = normalize(x + _linear(inner, layer.output), layer.output_norm, encoder.epsilon)
        outputs.append(x)
    return outputs


def _linear(x: Array, linear: Linear | QuantizedLinear) -> Array:
    assert isinstance(linear, Linear)
    return x @ linear.weight.astype(np.float64) + linear.bias
