"""The encoder as an ONNX graph, written operator by operator for the CPU kernels that are fast.

``input_ids`` ``(batch, tokens)`` int64 -> ``embedding`` ``(batch, hidden)`` float32 of length 1. There is no padding
mask, because the runtime runs only texts of equal length together. The choices, each measured on ONNX Runtime 1.32:

- Query, key and value are one matrix product; attention is one ``MultiHeadAttention`` (flash, no mask). With ONNX's
  ``Attention`` the encoder takes 3 % less up to 128 tokens and 4 to 6 % more at 512; it needs opset 23.
- ``Add`` and ``LayerNormalization`` stay apart: the fused ``SkipLayerNormalization`` takes five times as long.
- With CLS pooling the last layer computes its query, output and feed-forward part for the first token only.
- The mean is a product with a row of ones: ``ReduceMean`` sums in an order that depends on the batch. It is left as
  the sum, since the normalisation that follows takes out the length.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto

from embedge_export.encoder import CENTRE, Encoder, LayerNorm, Linear, Pooling, QuantizedLinear, QuantizedTable
from embedge_export.graph.builder import GraphBuilder

_MICROSOFT = "com.microsoft"


@dataclass(frozen=True)
class _Normed:
    """The values that go into a LayerNorm and come out of it."""

    input: str
    output: str
    norm: LayerNorm
    epsilon: float


def author(encoder: Encoder, pooling: Pooling, *, unsigned: bool = False) -> GraphBuilder:
    """Write the graph of ``encoder``; ends in the value ``embedding``.

    Products of unsigned 8-bit activations by signed 8-bit weights are exact where the CPU has instructions for them
    (VNNI, AMX, NEON). Elsewhere ``vpmaddubsw`` adds pairs of them in 16 bits, which overflow (up to 2 * 255 * 127).
    With ``unsigned`` the weights are unsigned too, plus 128 with a zero point of 128: exact everywhere, the same
    numbers, and so the same bits. On a Zen 3 with AVX2 a whole pass takes as long as with 7-bit activations, which do
    not overflow either but lose three times the fidelity; with VNNI the product takes 2.4 times as long.
    """
    g = GraphBuilder(encoder.hidden_size, unsigned=unsigned)
    hidden = encoder.hidden_size
    embedded = g.add(
        "Add",
        "embeddings/sum",
        words(g, "words", encoder.words),
        positions(g, encoder, g.constant("positions/table", encoder.positions)),
    )
    x = _norm(g, "embeddings/norm", embedded, encoder.norm, encoder.epsilon)
    for number, layer in enumerate(encoder.layers):
        name = f"layer{number}"
        if pooling == "cls" and number == len(encoder.layers) - 1:
            first = _first(g, x)
            q = _linear(g, f"{name}/query", first.output, layer.qkv.columns(0, hidden))
            kv = _linear(g, f"{name}/kv", x.output, layer.qkv.columns(hidden, 3 * hidden))
            k, v = _split(g, [f"{name}/key", f"{name}/value"], kv, hidden)
            x = first
        else:
            qkv = _linear(g, f"{name}/qkv", x.output, layer.qkv)
            q, k, v = _split(g, [f"{name}/query", f"{name}/key", f"{name}/value"], qkv, hidden)
        a = g.add("MultiHeadAttention", f"{name}/attention", q, k, v, num_heads=encoder.heads, domain=_MICROSOFT)
        a = _linear_with_residual(g, f"{name}/attention_output", a, layer.attention_output, x)
        x = _norm(g, f"{name}/attention_norm", a, layer.attention_norm, encoder.epsilon)
        f = _linear(g, f"{name}/intermediate", x.output, layer.intermediate)
        f = _activation(g, f"{name}/activation", f, encoder)
        f = _linear_with_residual(g, f"{name}/output", f, layer.output, x)
        x = _norm(g, f"{name}/norm", f, layer.output_norm, encoder.epsilon)
    pool(g, x.output, pooling)
    return g


def words(g: GraphBuilder, name: str, table: npt.NDArray[np.float32] | QuantizedTable) -> str:
    """The words' vectors. Shape: ``(batch, tokens, hidden)``."""
    if isinstance(table, QuantizedTable):
        codes = g.add("Gather", f"{name}/codes", g.constant(f"{name}/table", table.codes), "input_ids")
        scale = g.add("Gather", f"{name}/scale", g.constant(f"{name}/scales", table.scale), "input_ids")
        return g.add("Mul", name, g.add("Cast", f"{name}/cast", codes, to=TensorProto.FLOAT), scale)
    return g.add("Gather", name, g.constant(f"{name}/table", table), "input_ids")


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


def _linear(g: GraphBuilder, name: str, x: str, linear: Linear | QuantizedLinear) -> str:
    return g.add("Add", name, _product(g, name, x, linear), g.constant(f"{name}/bias", linear.bias))


def _linear_with_residual(
    g: GraphBuilder, name: str, x: str, linear: Linear | QuantizedLinear, residual: _Normed
) -> str:
    """The linear layer's output plus ``residual`` as it was before smoothing.

    A smoothed residual is normalised again, with the linear layer's bias in it. That takes less than multiplying the
    factors back in and adding the bias.
    """
    norm = residual.norm
    if norm.smoothing is None:
        return g.add("Add", f"{name}/residual", _linear(g, name, x, linear), residual.output)
    plain = LayerNorm(norm.weight * norm.smoothing, norm.bias * norm.smoothing + linear.bias)
    again = _norm_node(g, f"{name}/plain", residual.input, plain, residual.epsilon)
    return g.add("Add", f"{name}/residual", _product(g, name, x, linear), again)


def _product(g: GraphBuilder, name: str, x: str, linear: Linear | QuantizedLinear) -> str:
    if isinstance(linear, QuantizedLinear):
        return quantized_product(g, name, x, linear)
    return g.add("MatMul", f"{name}/product", x, g.constant(f"{name}/weight", linear.weight))


def quantized_product(g: GraphBuilder, name: str, x: str, linear: QuantizedLinear, *, shared: str | None = None) -> str:
    """Round each row of ``x`` to 8 bits with a scale of its own, and multiply the integers; the bias is left to add.

    Products that have the same matrix give its constants one name, ``shared``.

    ``MatMulIntegerToFloat`` takes one scale for each row; ``DynamicQuantizeLinear``, the usual way, has one for the
    whole tensor, and so a vector that depends on the other texts of the batch.
    """
    shared = shared or name
    if linear.smoothing is not None:
        x = g.add("Mul", f"{name}/smoothed", x, g.constant(f"{shared}/smoothing", 1 / linear.smoothing))
    magnitude = g.add("Abs", f"{name}/abs", x) if linear.zero_point == CENTRE else x
    largest = g.add("ReduceMax", f"{name}/largest", magnitude, g.integers(-1), keepdims=1)
    scale = g.add("Mul", f"{name}/largest_scale", largest, g.scalar(np.float32(1 / (255 - linear.zero_point))))
    scale = g.add("Max", f"{name}/row_scale", scale, g.scalar(np.float32(linear.smallest_scale)))
    ratio = g.add("Div", f"{name}/ratio", x, scale)
    zero = g.scalar(np.uint8(linear.zero_point))
    rounded = g.add("QuantizeLinear", f"{name}/rounded", ratio, g.scalar(np.float32(1)), zero)
    codes, scales = g.matrix(f"{shared}/codes", linear.codes), g.constant(f"{shared}/scales", linear.scale)
    zeros = [zero, g.scalar(np.uint8(128))] if g.unsigned else [zero]
    return g.add("MatMulIntegerToFloat", f"{name}/product", rounded, codes, scale, scales, *zeros, domain=_MICROSOFT)


def _split(g: GraphBuilder, names: list[str], x: str, width: int) -> Sequence[str]:
    return g.add_many("Split", names, x, g.integers(*[width] * len(names)), axis=-1)


def _activation(g: GraphBuilder, name: str, x: str, encoder: Encoder) -> str:
    if encoder.activation == "relu":
        return g.add("Relu", name, x)
    return g.add("Gelu", name, x, approximate="tanh" if encoder.activation == "gelu_tanh" else "none")


def pool(g: GraphBuilder, x: str, pooling: Pooling) -> None:
    """The value ``embedding`` from the last hidden state, of which CLS pooling needs the first token only."""
    if pooling == "cls":
        first = g.add("Gather", "pooled", x, g.scalar(np.int64(0)), axis=1)
    else:
        tokens = g.add("Shape", "pool/tokens", "input_ids", start=1, end=2)
        ones = g.add("ConstantOfShape", "pool/ones", tokens, value=onnx.numpy_helper.from_array(np.ones(1, np.float32)))
        row = g.add("Unsqueeze", "pool/row", ones, g.integers(0))
        first = g.add("Squeeze", "pooled", g.add("MatMul", "pool/sum", row, x), g.integers(1))
    g.add("LpNormalization", "embedding", first, axis=-1, p=2)
