"""Matrix products of a graph, in float32 or in int8."""

import numpy as np

from embedge_export.encoder import CENTRE, Linear, QuantizedLinear
from embedge_export.graph.builder import GraphBuilder

_MICROSOFT = "com.microsoft"


def linear(g: GraphBuilder, name: str, x: str, weights: Linear | QuantizedLinear) -> str:
    """``x @ weights`` and the bias. Shape: ``(..., in)`` -> ``(..., out)``."""
    return g.add("Add", name, product(g, name, x, weights), g.constant(f"{name}/bias", weights.bias))


def product(g: GraphBuilder, name: str, x: str, weights: Linear | QuantizedLinear) -> str:
    """``x @ weights``; the bias is left to add."""
    if isinstance(weights, QuantizedLinear):
        return quantized_product(g, name, x, weights)
    return g.add("MatMul", f"{name}/product", x, g.constant(f"{name}/weight", weights.weight))


def quantized_product(g: GraphBuilder, name: str, x: str, linear: QuantizedLinear, *, shared: str | None = None) -> str:
    """Round each row of ``x`` to 8 bits with a scale of its own, and multiply the integers; the bias is left to add.

    Products that have the same matrix give its constants one name, ``shared``.

    ``MatMulIntegerToFloat`` takes one scale for each row; ``DynamicQuantizeLinear``, the usual way, has one for the
    whole tensor, and so a vector that depends on the other texts of the batch.
    """
    shared = shared or name
    if linear.shift is not None:
        x = g.add("Sub", f"{name}/shifted", x, g.constant(f"{shared}/shift", linear.shift))
    if linear.smoothing is not None:
        x = g.add("Mul", f"{name}/smoothed", x, g.constant(f"{shared}/smoothing", 1 / linear.smoothing))
    magnitude = g.add("Abs", f"{name}/abs", x) if linear.zero_point == CENTRE else x
    largest = g.add("ReduceMax", f"{name}/largest", magnitude, g.integers(-1), keepdims=1)
    scale = g.add("Mul", f"{name}/largest_scale", largest, g.scalar(np.float32(1 / (255 - linear.zero_point))))
    scale = g.add("Max", f"{name}/row_scale", scale, g.scalar(np.float32(linear.smallest_scale)))
    ratio = g.add("Div", f"{name}/ratio", x, scale)
    zero = g.scalar(np.uint8(linear.zero_point))
    rounded = g.add("QuantizeLinear", f"{name}/rounded", ratio, g.scalar(np.float32(1)), zero)
    if g.stores_unsigned:
        codes = g.constant(f"{shared}/unsigned", linear.codes.view(np.uint8) ^ np.uint8(128))
    else:
        codes = g.matrix(f"{shared}/codes", linear.codes)
    scales = g.constant(f"{shared}/scales", linear.scale)
    zeros = [zero, g.scalar(np.uint8(128))] if g.unsigned or g.stores_unsigned else [zero]
    return g.add("MatMulIntegerToFloat", f"{name}/product", rounded, codes, scale, scales, *zeros, domain=_MICROSOFT)
