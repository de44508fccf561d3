"""The vectors that a checkpoint must give, by the equations in double precision; needs no torch."""

from collections.abc import Sequence

import numpy as np

from embedge_export.encoder import Encoder, Linear, Pooling, QuantizedLinear
from embedge_export.reference.forward import Array, activate, attend, normalize


def embed(encoder: Encoder, pooling: Pooling, ids: Sequence[int]) -> Array:
    """The vector of one text. Shape: ``(tokens,)`` -> ``(hidden,)``."""
    x = layer_outputs(encoder, ids)[-1]
    pooled = x[0] if pooling == "cls" else x.mean(axis=0)
    vector: Array = pooled / np.linalg.norm(pooled)
    return vector


def layer_outputs(encoder: Encoder, ids: Sequence[int]) -> list[Array]:
    """The embeddings of one text, then the output of each layer. Shape: ``(tokens,)`` -> ``(tokens, hidden)`` each."""
    assert isinstance(encoder.words, np.ndarray)
    x = encoder.words[list(ids)].astype(np.float64) + encoder.positions[encoder.position_ids(ids)]
    x = normalize(x, encoder.norm, encoder.epsilon)
    outputs = [x]
    for layer in encoder.layers:
        context = attend(_linear(x, layer.qkv), [len(ids)], encoder.heads)
        x = normalize(x + _linear(context, layer.attention_output), layer.attention_norm, encoder.epsilon)
        inner = activate(_linear(x, layer.intermediate), encoder.activation)
        x = normalize(x + _linear(inner, layer.output), layer.output_norm, encoder.epsilon)
        outputs.append(x)
    return outputs


def _linear(x: Array, linear: Linear | QuantizedLinear) -> Array:
    assert isinstance(linear, Linear)
    return x @ linear.weight.astype(np.float64) + linear.bias
