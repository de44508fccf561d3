"""The vectors that a checkpoint must give, by the equations in double precision; needs no torch."""

import itertools
from collections.abc import Sequence

import numpy as np

from embedge_export.encoder import Encoder, Linear, Pooling, QuantizedLinear
from embedge_export.reference.forward import Array, activate, attend, normalize


def embed(encoder: Encoder, pooling: Pooling, texts: Sequence[Sequence[int]]) -> Array:
    """The vectors of texts. Shape: ragged ``(n, tokens)`` -> ``(n, hidden)``."""
    ends = list(itertools.accumulate(len(ids) for ids in texts))
    states = np.split(layer_outputs(encoder, texts)[-1], ends[:-1])
    pooled = np.array([x[0] if pooling == "cls" else x.mean(axis=0) for x in states])
    vectors: Array = pooled / np.linalg.norm(pooled, axis=1, keepdims=True)
    return vectors


def layer_outputs(encoder: Encoder, texts: Sequence[Sequence[int]]) -> list[Array]:
    """The embeddings of texts, one after the other, then the output of each layer.

    All texts go through a layer together, so that its weights are converted to double precision once.
    Shape: ragged ``(n, tokens)`` -> ``(tokens of all, hidden)`` each.
    """
    assert isinstance(encoder.words, np.ndarray)
    words = encoder.words[list(itertools.chain(*texts))].astype(np.float64)
    positions = np.concatenate([encoder.positions[encoder.position_ids(ids)] for ids in texts])
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
