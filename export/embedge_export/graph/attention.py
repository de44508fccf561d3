"""Attention as nodes: one operator where its last bits do not matter, written out where they do.

``MultiHeadAttention`` sums the weights of a row in an order that depends on the instruction set (AVX2 or AVX-512), so
its results differ in the last bits from CPU to CPU. In a graph that rounds activations to integers such a difference
tips a value to the next integer now and then, and from there grows to 1e-4 of the vector's cosine. It is the only
operator of the graph that does so. Written out, the whole graph takes 3 to 5 % longer for 16 tokens, 5 to 6 % for 128
and 10 to 14 % for 256 (MiniLM and bge-small, one thread).

Written out, every sum is a product of matrices, which adds in the order of the rows on all of these CPUs:

- The weights are summed by a product with ones. ``ReduceSum`` starts where a row is aligned in memory, so that its sum
  depends on the batch.
- The ones have two columns. With one column the kernel is another one, whose order depends on how the threads share
  the rows.
- There are ones for every text and head, although they are all the same, so that no product runs over several texts: a
  product with one row takes another kernel than one with several.
"""

import math
from collections.abc import Sequence

import numpy as np
import onnx

from embedge_export.graph.builder import GraphBuilder

_MICROSOFT = "com.microsoft"


def fused(g: GraphBuilder, name: str, qkv: Sequence[str], heads: int) -> str:
    """Attention as the one operator, which is fastest. Shapes: ``(batch, tokens, hidden)``."""
    return g.add("MultiHeadAttention", name, *qkv, num_heads=heads, domain=_MICROSOFT)


def reproducible(g: GraphBuilder, name: str, qkv: Sequence[str], heads: int) -> str:
    """Attention with the same bits with AVX2 and with AVX-512. Shapes: ``(batch, tokens, hidden)``."""
    size = g.width // heads
    q, k, v = (_split_heads(g, f"{name}/{part}", x, heads) for part, x in zip(("q", "k", "v"), qkv, strict=True))
    scores = g.add("FusedMatMul", f"{name}/scores", q, k, transB=1, alpha=1 / math.sqrt(size), domain=_MICROSOFT)
    largest = g.add("ReduceMax", f"{name}/largest", scores, g.integers(-1), keepdims=1)
    weights = g.add("Exp", f"{name}/weights", g.add("Sub", f"{name}/shifted", scores, largest))
    sums = g.add("MatMul", f"{name}/sums", weights, _ones(g, heads))
    total = g.add("Slice", f"{name}/total", sums, g.integers(0), g.integers(1), g.integers(3))
    context = g.add("Div", f"{name}/context", g.add("MatMul", f"{name}/weighted", weights, v), total)
    context = g.add("Transpose", f"{name}/rows", context, perm=[0, 2, 1, 3])
    return g.add("Reshape", name, context, g.integers(0, 0, g.width))


def _split_heads(g: GraphBuilder, name: str, x: str, heads: int) -> str:
    """``(batch, tokens, hidden)`` -> ``(batch, heads, tokens, size)``."""
    split = g.add("Reshape", f"{name}/split", x, g.integers(0, 0, heads, g.width // heads))
    return g.add("Transpose", f"{name}/heads", split, perm=[0, 2, 1, 3])


def _ones(g: GraphBuilder, heads: int) -> str:
    """``(batch, heads, tokens, 2)`` of ones, made once."""
    name = "attention/ones"
    if not any(node.name == name for node in g.nodes):
        batch = g.add("Shape", f"{name}/batch", "input_ids", start=0, end=1)
        tokens = g.add("Shape", f"{name}/tokens", "input_ids", start=1, end=2)
        shape = g.add("Concat", f"{name}/shape", batch, g.integers(heads), tokens, g.integers(2), axis=0)
        one = onnx.numpy_helper.from_array(np.ones(1, np.float32))
        g.add("ConstantOfShape", name, shape, value=one)
    return name
