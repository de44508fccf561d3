"""int8: what is quantized, how, and why.

Every matrix and the word table become int8; positions, biases and LayerNorms stay float32, being 3 % of the bytes.
Weights have one scale for each output channel, activations are rounded by the graph with one for each token.
"""

import dataclasses

import numpy as np
import numpy.typing as npt

from embedge_export.encoder import Encoder, FloatArray, Linear, QuantizedLinear, QuantizedTable

RECIPE = "int8 weights per output channel, 8-bit activations per token, int8 word table per row"


def int8(encoder: Encoder) -> Encoder:
    """The encoder with all matrices and the word table in int8."""
    return dataclasses.replace(
        encoder,
        words=_table(encoder.words),
        layers=tuple(
            dataclasses.replace(
                layer,
                qkv=_linear(layer.qkv),
                attention_output=_linear(layer.attention_output),
                intermediate=_linear(layer.intermediate),
                output=_linear(layer.output),
            )
            for layer in encoder.layers
        ),
    )


def _linear(linear: Linear | QuantizedLinear) -> QuantizedLinear:
    assert isinstance(linear, Linear)
    codes, scale = _round_rows(linear.weight.T)
    return QuantizedLinear(np.ascontiguousarray(codes.T), scale[:, 0], linear.bias)


def _table(words: FloatArray | QuantizedTable) -> QuantizedTable:
    return words if isinstance(words, QuantizedTable) else QuantizedTable(*_round_rows(words))


def _round_rows(rows: FloatArray) -> tuple[npt.NDArray[np.int8], FloatArray]:
    """Codes of -127 to 127 and the scale of each row. Shapes: ``(rows, n)`` -> ``(rows, n)``, ``(rows, 1)``."""
    scale = np.abs(rows).max(axis=1, keepdims=True) / np.float32(127)
    scale[scale == 0] = 1
    codes: npt.NDArray[np.int8] = np.rint(rows / scale).astype(np.int8)
    return codes, scale
