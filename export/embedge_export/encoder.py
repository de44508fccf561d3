"""A BERT encoder and its head as plain arrays: what the steps of an export hand to each other.

The arrays lie as the graph uses them: linear layers are ``(in, out)``, query, key and value are one matrix, and the
vector of token type 0 is part of the positions, since an embedding model sees one segment only.
"""

import typing
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float32]

Activation = Literal["gelu", "gelu_tanh", "relu"]
Pooling = Literal["cls", "max", "mean", "mean_sqrt_len_tokens", "weightedmean", "lasttoken"]
"""How token vectors become one, by sentence-transformers' names."""

POOLINGS: tuple[Pooling, ...] = typing.get_args(Pooling)

DenseActivation = Literal["identity", "tanh", "relu", "gelu", "sigmoid"]

# Keeps the scale of a row of zeros from being zero.
SMALLEST_SCALE = 1e-12
# The zero point around which rows are scaled by their largest magnitude.
CENTRE = 128

_FEW_OUTPUTS = 16


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
    """``(x - shift) / smoothing @ (codes * scale) + bias``, with ``(x - shift) / smoothing`` rounded to 8 bits.

    Each row has a scale of its own, not below ``smallest_scale``: its largest magnitude / 127 if ``zero_point`` is 128,
    else its largest value / (255 - ``zero_point``). Shapes: ``codes`` ``(in, out)`` int8, ``scale`` and ``bias``
    ``(out,)``, ``shift`` and ``smoothing`` ``(in,)`` or ``None`` where the inputs need none, or have it already.
    """

    codes: npt.NDArray[np.int8]
    scale: FloatArray
    bias: FloatArray
    zero_point: int
    smallest_scale: float
    smoothing: FloatArray | None
    shift: FloatArray | None = None

    def columns(self, start: int, stop: int) -> "QuantizedLinear":
        """The part that gives outputs ``start`` to ``stop``."""
        part = slice(start, stop)
        return replace(self, codes=self.codes[:, part], scale=self.scale[part], bias=self.bias[part])


@dataclass(frozen=True)
class QuantizedTable:
    """``codes * scale``, row by row. Shapes: ``(rows, hidden)`` int8 and ``(rows, 1)``."""

    codes: npt.NDArray[np.int8]
    scale: FloatArray


@dataclass(frozen=True)
class LayerNorm:
    """Shapes: ``(hidden,)``. The output is divided by ``smoothing``, if given; residuals multiply that back in."""

    weight: FloatArray
    bias: FloatArray
    smoothing: FloatArray | None = None


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
    """All of a model's weights. Shapes: ``words`` ``(vocabulary, hidden)``, ``positions`` ``(positions, hidden)``.

    ``second``, of shape ``(hidden,)``, is added to the tokens of a pair's second text, whose ids are larger by the
    number of words; ``None`` for models of single texts, or that do not tell the two apart.

    With a ``pad_id`` positions are counted from 1, and tokens of that id, which a text may hold, have position 0 and
    are not counted (RoBERTa); without, every token counts, from 0.
    """

    words: FloatArray | QuantizedTable
    positions: FloatArray
    norm: LayerNorm
    layers: tuple[Layer, ...]
    heads: int
    activation: Activation
    epsilon: float
    pad_id: int | None = None
    second: FloatArray | None = None

    def word_ids(self, ids: Sequence[int]) -> npt.NDArray[np.int64]:
        """The rows of ``words`` that the tokens of a text or a pair have. Shape: ``(tokens,)``."""
        rows = np.asarray(ids, np.int64)
        return rows if self.second is None else rows % self.vocabulary_size

    def offsets(self, ids: Sequence[int]) -> npt.NDArray[np.float32]:
        """What the tokens get for their places: in the text, and in which of a pair. Shape: ``(tokens, hidden)``."""
        positions: npt.NDArray[np.float32] = self.positions[self.position_ids(ids)]
        if self.second is not None:
            is_second = (np.asarray(ids) >= self.vocabulary_size).astype(np.float32)
            positions = positions + is_second[:, None] * self.second
        return positions

    def position_ids(self, ids: Sequence[int]) -> npt.NDArray[np.int64]:
        """The rows of ``positions`` that the tokens of a text have. Shape: ``(tokens,)``."""
        if self.pad_id is None:
            return np.arange(len(ids))
        counted = np.asarray(ids) != self.pad_id
        rows: npt.NDArray[np.int64] = np.cumsum(counted) * counted
        return rows

    @property
    def vocabulary_size(self) -> int:
        """Tokens that the word table knows."""
        return len(self.words.codes if isinstance(self.words, QuantizedTable) else self.words)

    @property
    def hidden_size(self) -> int:
        """The width of the model and of its vectors."""
        return int(self.positions.shape[1])


@dataclass(frozen=True)
class Dense:
    """A linear layer and its activation, on the vector of a text."""

    linear: Linear | QuantizedLinear
    activation: DenseActivation

    @property
    def outputs(self) -> int:
        """The width of the vector that it gives."""
        return len(self.linear.bias)

    @property
    def has_few_outputs(self) -> bool:
        """Whether it stays in float32, and its outputs are summed one by one, over inputs padded with zeros.

        Float matrices of one column are multiplied by other kernels for one text than for several, which round
        differently; and a matrix as small as this gains nothing by int8.
        """
        return self.outputs <= _FEW_OUTPUTS


@dataclass(frozen=True)
class HeadNorm:
    """Layer normalisation of the vector of a text."""

    norm: LayerNorm
    epsilon: float


@dataclass(frozen=True)
class Head:
    """From the token vectors of a text to its vector, in this order.

    ``pooling`` has one name or several, whose vectors are joined. ``dimensions`` keeps the first ones only, after the
    normalisation, as sentence-transformers does with ``truncate_dim``.
    """

    pooling: tuple[Pooling, ...]
    layers: tuple[Dense | HeadNorm, ...] = ()
    normalize: bool = True
    dimensions: int | None = None

    def width(self, hidden_size: int) -> int:
        """The dimensions of a text's vector."""
        width = self.dense[-1].outputs if self.dense else hidden_size * len(self.pooling)
        return min(width, self.dimensions or width)

    @property
    def dense(self) -> tuple[Dense, ...]:
        """Those of the layers that have a matrix."""
        return tuple(layer for layer in self.layers if isinstance(layer, Dense))

    @property
    def first_token_only(self) -> bool:
        """Whether the other tokens' vectors of the last layer are not needed."""
        return self.pooling == ("cls",)

    @property
    def unit_length(self) -> bool:
        """Whether vectors have length 1."""
        return self.normalize and self.dimensions is None
