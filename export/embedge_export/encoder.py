"""A BERT encoder as plain arrays: what the steps of an export hand to each other.

The arrays lie as the graph uses them: linear layers are ``(in, out)``, query, key and value are one matrix, and the
vector of token type 0 is part of the positions, since an embedding model sees one segment only.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float32]

Activation = Literal["gelu", "gelu_tanh", "relu"]
Pooling = Literal["cls", "mean"]


@dataclass(frozen=True)
class Linear:
    """``x @ weight + bias``. Shapes: ``(in, out)`` and ``(out,)``."""

    weight: FloatArray
    bias: FloatArray

    def columns(self, start: int, stop: int) -> "Linear":
        """The part that gives outputs ``start`` to ``stop``."""
        return Linear(self.weight[:, start:stop], self.bias[start:stop])


@dataclass(frozen=True)
class QuantizedLinear:
    """``x @ (codes * scale) + bias``, with ``x`` rounded to 8 bits, a scale for each row and one zero point for all.

    Shapes: ``codes`` ``(in, out)`` int8, ``scale`` and ``bias`` ``(out,)``.
    """

    codes: npt.NDArray[np.int8]
    scale: FloatArray
    bias: FloatArray

    def columns(self, start: int, stop: int) -> "QuantizedLinear":
        """The part that gives outputs ``start`` to ``stop``."""
        return QuantizedLinear(self.codes[:, start:stop], self.scale[start:stop], self.bias[start:stop])


@dataclass(frozen=True)
class QuantizedTable:
    """``codes * scale``, row by row. Shapes: ``(rows, hidden)`` int8 and ``(rows, 1)``."""

    codes: npt.NDArray[np.int8]
    scale: FloatArray


@dataclass(frozen=True)
class LayerNorm:
    """Shapes: ``(hidden,)`` both."""

    weight: FloatArray
    bias: FloatArray


@dataclass(frozen=True)
class Layer:
    """One transformer layer, normalised after each residual (Devlin et al. 2019)."""

    qkv: Linear | QuantizedLinear
    attention_output: Linear | QuantizedLinear
    attention_norm: LayerNorm
    intermediate: Linear | QuantizedLinear
    output: Linear | QuantizedLinear
    output_norm: LayerNorm


@dataclass(frozen=True)
class Encoder:
    """All of a model's weights. Shapes: ``words`` ``(vocabulary, hidden)``, ``positions`` ``(positions, hidden)``."""

    words: FloatArray | QuantizedTable
    positions: FloatArray
    norm: LayerNorm
    layers: tuple[Layer, ...]
    heads: int
    activation: Activation
    epsilon: float

    @property
    def vocabulary_size(self) -> int:
        """Tokens that the word table knows."""
        return len(self.words.codes if isinstance(self.words, QuantizedTable) else self.words)

    @property
    def hidden_size(self) -> int:
        """The width of the model and of its vectors."""
        return int(self.positions.shape[1])
