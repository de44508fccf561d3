"""The head of a graph on the CPU: token vectors become the value ``embedding``.

Sums over tokens are products with a row of numbers: ``ReduceSum`` and ``ReduceMean`` over a middle axis add in an order
that depends on the batch. A mean that is only normalised is left as the sum, since that takes out the length.
"""

from collections.abc import Sequence

import numpy as np
import onnx
from onnx import TensorProto

from embedge_export.encoder import Dense, Head, HeadNorm, Linear, Pooling
from embedge_export.graph.builder import GraphBuilder
from embedge_export.graph.products import linear

_LANES = 16
# Operators and their domains. ONNX has Gelu since opset 20, and traced graphs may have an older one.
_ACTIVATIONS = {
    "tanh": ("Tanh", ""),
    "relu": ("Relu", ""),
    "gelu": ("Gelu", "com.microsoft"),
    "sigmoid": ("Sigmoid", ""),
}


def add_head(g: GraphBuilder, x: str, head: Head) -> None:
    """The value ``embedding`` from the last hidden state ``x``, of which CLS pooling needs the first token only."""
    scaled = bool(head.layers) or not head.normalize or len(head.pooling) > 1
    pooled = [_pool(g, f"pool{n}/{mode}", x, mode, scaled=scaled) for n, mode in enumerate(head.pooling)]
    vector = add_layers(g, pooled, head)
    if head.normalize:
        vector = g.add("LpNormalization", "normalized", vector, axis=-1, p=2)
    finish(g, vector, head)


def add_layers(g: GraphBuilder, pooled: Sequence[str], head: Head) -> str:
    """What the head's layers make of the ``pooled`` vectors of a text, joined."""
    vector = pooled[0] if len(pooled) == 1 else g.add("Concat", "pooled", *pooled, axis=-1)
    for number, layer in enumerate(head.layers):
        if isinstance(layer, HeadNorm):
            vector = _norm(g, f"head{number}/norm", vector, layer)
        else:
            vector = _dense(g, f"dense{number}", vector, layer)
    return vector


def finish(g: GraphBuilder, vector: str, head: Head) -> None:
    """The value ``embedding`` from the last ``vector``, which was added last."""
    if head.dimensions is not None:
        g.add("Slice", "truncated", vector, g.integers(0), g.integers(head.dimensions), g.integers(-1))
    g.name_last("embedding")


def _pool(g: GraphBuilder, name: str, x: str, pooling: Pooling, *, scaled: bool) -> str:
    """Shape: ``(batch, tokens, hidden)`` -> ``(batch, hidden)``; a sum instead of a mean unless ``scaled``."""
    if pooling in ("cls", "lasttoken"):
        return g.add("Gather", name, x, g.scalar(np.int64(0 if pooling == "cls" else -1)), axis=1)
    if pooling == "max":
        return g.add("ReduceMax", name, x, g.integers(1), keepdims=0)
    tokens = g.add("Shape", f"{name}/tokens", "input_ids", start=1, end=2)
    ones = g.add("ConstantOfShape", f"{name}/ones", tokens, value=onnx.numpy_helper.from_array(np.ones(1, np.float32)))
    if pooling == "weightedmean":
        ones = g.add("CumSum", f"{name}/numbers", ones, g.constant("axis/0", np.array(0, np.int64)))
    row = g.add("Unsqueeze", f"{name}/row", ones, g.integers(0))
    pooled = g.add("Squeeze", f"{name}/sum", g.add("MatMul", f"{name}/product", row, x), g.integers(1))
    if not scaled:
        return pooled
    weights = g.add("Cast", f"{name}/count", tokens, to=TensorProto.FLOAT)
    if pooling == "mean_sqrt_len_tokens":
        weights = g.add("Sqrt", f"{name}/root", weights)
    if pooling == "weightedmean":
        half = g.add("Mul", f"{name}/half", weights, g.scalar(np.float32(0.5)))
        weights = g.add("Mul", f"{name}/weights", half, g.add("Add", f"{name}/next", weights, g.scalar(np.float32(1))))
    return g.add("Div", name, pooled, weights)


def _norm(g: GraphBuilder, name: str, x: str, layer: HeadNorm) -> str:
    weight = g.constant(f"{name}/weight", layer.norm.weight)
    bias = g.constant(f"{name}/bias", layer.norm.bias)
    return g.add("LayerNormalization", name, x, weight, bias, epsilon=layer.epsilon)


def _dense(g: GraphBuilder, name: str, x: str, dense: Dense) -> str:
    matrix = dense.linear
    if isinstance(matrix, Linear) and dense.has_few_outputs:
        columns = np.ascontiguousarray(matrix.weight.T)
        # Sums of another length are added in an order that depends on the row's place in the batch.
        if missing := -columns.shape[1] % _LANES:
            columns = np.pad(columns, ((0, 0), (0, missing)))
            x = g.add("Pad", f"{name}/padded", x, g.integers(0, 0, 0, missing))
        rows = g.add("Unsqueeze", f"{name}/row", x, g.integers(1))
        products = g.add("Mul", f"{name}/products", rows, g.constant(f"{name}/weight", columns))
        summed = g.add("ReduceSum", f"{name}/sum", products, g.integers(-1), keepdims=0)
        x = g.add("Add", name, summed, g.constant(f"{name}/bias", matrix.bias))
    else:
        x = linear(g, name, x, matrix)
    if dense.activation == "identity":
        return x
    operator, domain = _ACTIVATIONS[dense.activation]
    return g.add(operator, f"{name}/activation", x, domain=domain)
