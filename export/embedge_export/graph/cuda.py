"""The encoder as an ONNX graph for ONNX Runtime's CUDA provider: float16 weights, fused operators, padded batches.

``input_ids`` ``(batch, tokens)`` int64 -> ``embedding`` ``(batch, hidden)`` float32. Shorter texts are
padded on the right with -1, so that one upload carries the ids and the lengths. Padding takes word 0 of the table,
which every model has trained: a mean multiplies padded tokens by 0, which would make NaN of an infinity. Attention
masks them. Positions that are counted, as RoBERTa's are, depend on the tokens before only.

What was read in ONNX Runtime's sources and in the list of its kernels (docs/OperatorKernels.md, August 2026). On an
H200 every node ran on the GPU.

- Every operator used here has a CUDA kernel for the types used here (:data:`CUDA_KERNELS`).
- ``Attention`` takes TensorRT's fused kernels, or cuDNN's on Hopper and later, with a mask that is missing or has one
  length for each text, and no fused kernel with a matrix as mask. The memory-efficient kernel, for head sizes or
  lengths that TensorRT's lack before Hopper, wants another form of mask, and is given up. Scores are scaled inside.
- Matrix products of float16 add up in float32 (cuBLAS, ``CUBLAS_COMPUTE_32F``); ``LayerNormalization`` computes in
  float32. So does ``SkipLayerNormalization`` in today's sources; in older ones only with the provider's option
  ``enable_skip_layer_norm_strict_mode``, which :mod:`embedge.engine.sessions` sets. It takes the bias of the product
  before it.
- ``ReduceSum`` of float32 over rows is a kernel of its own, the other reductions go through cuDNN; hence lengths and
  norms are sums. ``LpNormalization`` has no CUDA kernel.
- Shapes are read once, for the slice of the position table, whose length the CUDA kernel wants on the CPU anyway; not
  at all where positions are counted.

The operators for tokens without padding (``RemovePadding``, ``PackedAttention``) and CUDA graphs may be faster. That is
for a GPU to say, so neither is here.
"""

import numpy as np
import numpy.typing as npt
from onnx import TensorProto

from embedge.errors import ExportError
from embedge_export.encoder import Encoder, Head, LayerNorm, Linear, QuantizedLinear
from embedge_export.graph.builder import GraphBuilder
from embedge_export.graph.cpu import positions

RECIPE = "float16 weights and activations, float32 sums, for padded batches"

CUDA_KERNELS = {
    "Add": "float16",
    "Attention": "float16, int32 lengths",
    "BiasGelu": "float16",
    "Cast": "any to any",
    "CumSum": "int64",
    "Div": "float32",
    "Equal": "int64",
    "FastGelu": "float16",
    "Gather": "float16 by int64",
    "GreaterOrEqual": "int64",
    "LayerNormalization": "float16",
    "MatMul": "float16, float32",
    "Max": "float32, int64",
    "Mul": "float32, int64",
    "Not": "bool",
    "ReduceSum": "float32",
    "Relu": "float16",
    "Shape": "int64",
    "SkipLayerNormalization": "float16",
    "Slice": "float16",
    "Sqrt": "float32",
    "Squeeze": "float32",
    "Unsqueeze": "float32",
}
"""The operators that the graph may use, with the types for which the list of kernels has them for CUDA."""

_MICROSOFT = "com.microsoft"
# Keeps a vector of zeros from being divided by zero.
_SMALLEST_NORM = np.float32(1e-12)


def author(encoder: Encoder, head: Head) -> GraphBuilder:
    """Write the graph of ``encoder``, whose matrices are float32; ends in the value ``embedding``.

    With CLS pooling the last layer computes its output and feed-forward part for the first token only.
    """
    assert isinstance(encoder.words, np.ndarray)
    if head.pooling not in (("cls",), ("mean",)) or head.layers or head.dimensions is not None:
        raise ExportError(
            "fp16 is for embedders with cls or mean pooling, without Dense, LayerNorm and truncate_dim; choose int8 or "
            "fp32"
        )
    g = GraphBuilder(encoder.hidden_size)
    is_token = _is_token(g)
    lengths = g.add("Cast", "lengths", _sum(g, "lengths/sum", is_token, keepdims=0), to=TensorProto.INT32)
    x = _embed(g, encoder, encoder.words)
    for number, layer in enumerate(encoder.layers):
        name = f"layer{number}"
        qkv = _linear(g, f"{name}/qkv", layer.qkv)
        a = g.add("Attention", f"{name}/attention", x, *qkv, lengths, num_heads=encoder.heads, domain=_MICROSOFT)
        if head.first_token_only and number == len(encoder.layers) - 1:
            x, a = (g.add("Slice", f"{value}/first", value, *map(g.integers, (0, 1, 1))) for value in (x, a))
        a, bias = _product(g, f"{name}/attention_output", a, layer.attention_output)
        x = _norm_of_sum(g, f"{name}/attention_norm", (a, x, bias), layer.attention_norm, encoder.epsilon)
        f, bias = _product(g, f"{name}/intermediate", x, layer.intermediate)
        f = _activation(g, f"{name}/activation", f, bias, encoder)
        f, bias = _product(g, f"{name}/output", f, layer.output)
        x = _norm_of_sum(g, f"{name}/norm", (f, x, bias), layer.output_norm, encoder.epsilon)
    _add_head(g, x, is_token, lengths, head)
    return g


def _is_token(g: GraphBuilder) -> str:
    """1 for a token and 0 for padding. Shape: ``(batch, tokens)`` float32."""
    found = g.add("GreaterOrEqual", "is_token/found", "input_ids", g.constant("int64/0", np.array(0, np.int64)))
    return g.add("Cast", "is_token", found, to=TensorProto.FLOAT)


def _embed(g: GraphBuilder, encoder: Encoder, table: npt.NDArray[np.float32]) -> str:
    known = g.add("Max", "words/ids", "input_ids", g.constant("int64/0", np.array(0, np.int64)))
    words = g.add("Gather", "words", _half(g, "words/table", table), known)
    embedded = g.add(
        "Add", "embeddings/sum", words, positions(g, encoder, _half(g, "positions/table", encoder.positions))
    )
    norm = _norm_weights(g, "embeddings/norm", encoder.norm)
    return g.add("LayerNormalization", "embeddings/norm", embedded, *norm, axis=-1, epsilon=encoder.epsilon)


def _norm_of_sum(g: GraphBuilder, name: str, summands: tuple[str, str, str], norm: LayerNorm, epsilon: float) -> str:
    """LayerNorm of a product, the residual and the product's bias, in one operator."""
    product, residual, bias = summands
    weights = _norm_weights(g, name, norm)
    return g.add("SkipLayerNormalization", name, product, residual, *weights, bias, epsilon=epsilon, domain=_MICROSOFT)


def _activation(g: GraphBuilder, name: str, x: str, bias: str, encoder: Encoder) -> str:
    if encoder.activation == "relu":
        return g.add("Relu", name, g.add("Add", f"{name}/bias", x, bias))
    kind = "FastGelu" if encoder.activation == "gelu_tanh" else "BiasGelu"
    return g.add(kind, name, x, bias, domain=_MICROSOFT)


def _add_head(g: GraphBuilder, x: str, is_token: str, lengths: str, head: Head) -> None:
    """The value ``embedding``. A mean that is only normalised is left as the sum: that takes out the length."""
    x = g.add("Cast", "pool/float", x, to=TensorProto.FLOAT)
    if not head.first_token_only:
        x = g.add("MatMul", "pool/sum", g.add("Unsqueeze", "pool/row", is_token, g.integers(1)), x)
    x = g.add("Squeeze", "pooled", x, g.integers(1))
    if head.normalize:
        squares = _sum(g, "embedding/sum", g.add("Mul", "embedding/squares", x, x), keepdims=1)
        norm = g.add("Max", "embedding/norm", g.add("Sqrt", "embedding/root", squares), g.scalar(_SMALLEST_NORM))
        g.add("Div", "embedding", x, norm)
    elif not head.first_token_only:
        count = g.add("Cast", "pool/count", lengths, to=TensorProto.FLOAT)
        g.add("Div", "embedding", x, g.add("Unsqueeze", "pool/counts", count, g.integers(1)))
    g.name_last("embedding")


def _sum(g: GraphBuilder, name: str, x: str, *, keepdims: int) -> str:
    return g.add("ReduceSum", name, x, g.integers(-1), keepdims=keepdims)


def _norm_weights(g: GraphBuilder, name: str, norm: LayerNorm) -> tuple[str, str]:
    return _half(g, f"{name}/weight", norm.weight), _half(g, f"{name}/bias", norm.bias)


def _product(g: GraphBuilder, name: str, x: str, linear: Linear | QuantizedLinear) -> tuple[str, str]:
    """``x @ weight``, and the bias, which the operator that comes next adds."""
    weight, bias = _linear(g, name, linear)
    return g.add("MatMul", name, x, weight), bias


def _linear(g: GraphBuilder, name: str, linear: Linear | QuantizedLinear) -> tuple[str, str]:
    assert isinstance(linear, Linear)
    return _half(g, f"{name}/weight", linear.weight), _half(g, f"{name}/bias", linear.bias)


def _half(g: GraphBuilder, name: str, value: npt.NDArray[np.float32]) -> str:
    """A constant in float16; weights that are too large for it become infinite, and fail the comparison with fp32."""
    with np.errstate(over="ignore"):
        return g.constant(name, value.astype(np.float16))
