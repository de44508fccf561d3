"""The encoder as an ONNX graph, written operator by operator for the CPU kernels that are fast.

``input_ids`` ``(batch, tokens)`` int64 -> ``embedding`` ``(batch, dimensions)`` float32. There is no padding
mask, because the runtime runs only texts of equal length together. The choices, each measured on ONNX Runtime 1.32:

- Query, key and value are one matrix product; attention is one ``MultiHeadAttention`` (flash, no mask). With ONNX's
  ``Attention`` the encoder takes 3 % less up to 128 tokens and 4 to 6 % more at 512; it needs opset 23.
- ``Add`` and ``LayerNormalization`` stay apart: the fused ``SkipLayerNormalization`` takes five times as long.
- With CLS pooling the last layer computes its query, output and feed-forward part for the first token only.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from onnx import TensorProto

from embedge_export.encoder import Encoder, Head, LayerNorm, Linear, QuantizedLinear, QuantizedTable
from embedge_export.graph.builder import GraphBuilder
from embedge_export.graph.head import add_head
from embedge_export.graph.products import linear, product

_MICROSOFT = "com.microsoft"


@dataclass(frozen=True)
class _Normed:
    """The values that go into a LayerNorm and come out of it."""

    input: str
    output: str
    norm: LayerNorm
    epsilon: float


def author(encoder: Encoder, head: Head, *, unsigned: bool = False) -> GraphBuilder:
    """Write the graph of ``encoder``; ends in the value ``embedding``.

    Products of unsigned 8-bit activations by signed 8-bit weights are exact where the CPU has instructions for them
    (VNNI, AMX, NEON). Elsewhere ``vpmaddubsw`` adds pairs of them in 16 bits, which overflow (up to 2 * 255 * 127).
    With ``unsigned`` the weights are unsigned too, plus 128 with a zero point of 128: exact everywhere, the same
    numbers, and so the same bits. On a Zen 3 with AVX2 a whole pass takes as long as with 7-bit activations, which do
    not overflow either but lose three times the fidelity; with VNNI the product takes 2.4 times as long.
    """
    g = GraphBuilder(head.width(encoder.hidden_size), unsigned=unsigned)
    hidden = encoder.hidden_size
    ids = "input_ids"
    places = positions(g, encoder, g.constant("positions/table", encoder.positions))
    if encoder.second is not None:
        ids, second = _second(g, encoder.vocabulary_size, encoder.second)
        places = g.add("Add", "places", places, second)
    embedded = g.add("Add", "embeddings/sum", words(g, "words", encoder.words, ids), places)
    x = _norm(g, "embeddings/norm", embedded, encoder.norm, encoder.epsilon)
    for number, layer in enumerate(encoder.layers):
        name = f"layer{number}"
        if head.first_token_only and number == len(encoder.layers) - 1:
            first = _first(g, x)
            q = linear(g, f"{name}/query", first.output, layer.qkv.columns(0, hidden))
            kv = linear(g, f"{name}/kv", x.output, layer.qkv.columns(hidden, 3 * hidden))
            k, v = _split(g, [f"{name}/key", f"{name}/value"], kv, hidden)
            x = first
        else:
            qkv = linear(g, f"{name}/qkv", x.output, layer.qkv)
            q, k, v = _split(g, [f"{name}/query", f"{name}/key", f"{name}/value"], qkv, hidden)
        a = g.add("MultiHeadAttention", f"{name}/attention", q, k, v, num_heads=encoder.heads, domain=_MICROSOFT)
        a = _linear_with_residual(g, f"{name}/attention_output", a, layer.attention_output, x)
        x = _norm(g, f"{name}/attention_norm", a, layer.attention_norm, encoder.epsilon)
        f = linear(g, f"{name}/intermediate", x.output, layer.intermediate)
        f = _activation(g, f"{name}/activation", f, encoder)
        f = _linear_with_residual(g, f"{name}/output", f, layer.output, x)
        x = _norm(g, f"{name}/norm", f, layer.output_norm, encoder.epsilon)
    add_head(g, x.output, head)
    return g


def words(g: GraphBuilder, name: str, table: npt.NDArray[np.float32] | QuantizedTable, ids: str = "input_ids") -> str:
    """The words' vectors. Shape: ``(batch, tokens, hidden)``."""
    if isinstance(table, QuantizedTable):
        codes = g.add("Gather", f"{name}/codes", g.constant(f"{name}/table", table.codes), ids)
        scale = g.add("Gather", f"{name}/scale", g.constant(f"{name}/scales", table.scale), ids)
        return g.add("Mul", name, g.add("Cast", f"{name}/cast", codes, to=TensorProto.FLOAT), scale)
    return g.add("Gather", name, g.constant(f"{name}/table", table), ids)


def _second(g: GraphBuilder, vocabulary: int, second: npt.NDArray[np.float32]) -> tuple[str, str]:
    """The words' ids, and what the tokens of a pair's second text get. Shapes: ``(batch, tokens)``, and by hidden."""
    count = g.constant("vocabulary", np.array(vocabulary, np.int64))
    ids = g.add("Mod", "words/ids", "input_ids", count)
    found = g.add("GreaterOrEqual", "second/found", "input_ids", count)
    row = g.add("Unsqueeze", "second/row", g.add("Cast", "second/cast", found, to=TensorProto.FLOAT), g.integers(-1))
    return ids, g.add("Mul", "second", row, g.constant("second/vector", second))


def positions(g: GraphBuilder, encoder: Encoder, table: str) -> str:
    """The positions' vectors. Shape: ``(tokens, hidden)``, or ``(batch, tokens, hidden)`` where tokens are counted."""
    if encoder.pad_id is not None:
        pad = g.add("Equal", "positions/pad", "input_ids", g.integers(encoder.pad_id))
        counted = g.add("Cast", "positions/counted", g.add("Not", "positions/token", pad), to=TensorProto.INT64)
        count = g.add("CumSum", "positions/count", counted, g.constant("positions/axis", np.array(1, np.int64)))
        return g.add("Gather", "positions", table, g.add("Mul", "positions/ids", count, counted))
    tokens = g.add("Shape", "tokens", "input_ids", start=1, end=2)
    return g.add("Slice", "positions", table, g.integers(0), tokens, g.integers(0))


def _norm(g: GraphBuilder, name: str, x: str, norm: LayerNorm, epsilon: float) -> _Normed:
    return _Normed(x, _norm_node(g, name, x, norm, epsilon), norm, epsilon)


def _norm_node(g: GraphBuilder, name: str, x: str, norm: LayerNorm, epsilon: float) -> str:
    weight, bias = g.constant(f"{name}/weight", norm.weight), g.constant(f"{name}/bias", norm.bias)
    return g.add("LayerNormalization", name, x, weight, bias, axis=-1, epsilon=epsilon)


def _first(g: GraphBuilder, x: _Normed) -> _Normed:
    """The first token's; what went in is needed only where the residual is normalised again."""
    values = (x.input, x.output) if x.norm.smoothing is not None else (x.output,)
    sliced = [g.add("Slice", f"{value}/first", value, *map(g.integers, (0, 1, 1))) for value in values]
    return replace(x, input=sliced[0], output=sliced[-1])


def _linear_with_residual(
    g: GraphBuilder, name: str, x: str, weights: Linear | QuantizedLinear, residual: _Normed
) -> str:
    """The linear layer's output plus ``residual`` as it was before smoothing.

    A smoothed residual is normalised again, with the linear layer's bias in it. That takes less than multiplying the
    factors back in and adding the bias.
    """
    norm = residual.norm
    if norm.smoothing is None:
        return g.add("Add", f"{name}/residual", linear(g, name, x, weights), residual.output)
    again = _norm_node(g, f"{name}/plain", residual.input, plain_norm(norm, weights.bias), residual.epsilon)
    return g.add("Add", f"{name}/residual", product(g, name, x, weights), again)


def plain_norm(norm: LayerNorm, bias: npt.NDArray[np.float32]) -> LayerNorm:
    """A smoothed LayerNorm as it was before, with ``bias`` added to its output."""
    assert norm.smoothing is not None
    return LayerNorm(norm.weight * norm.smoothing, norm.bias * norm.smoothing + bias)


def _split(g: GraphBuilder, names: list[str], x: str, width: int) -> Sequence[str]:
    return g.add_many("Split", names, x, g.integers(*[width] * len(names)), axis=-1)


def _activation(g: GraphBuilder, name: str, x: str, encoder: Encoder) -> str:
    if encoder.activation == "relu":
        return g.add("Relu", name, x)
    return g.add("Gelu", name, x, approximate="tanh" if encoder.activation == "gelu_tanh" else "none")
