"""How far each layer of a variant is from its reference: where in the network the error of a vector arises.

Layers are compared by their normalised outputs, before LayerNorm's weight and bias: into these an int8 encoder folds
shifts and smoothing (see :mod:`embedge_export.quantize`), so that its outputs themselves are other numbers.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx

from embedge.bundle import Bundle
from embedge.engine.choose import Choice
from embedge.engine.weights import Unsigned
from embedge_export.encoder import Encoder, Head, LayerNorm
from embedge_export.reference import equations
from embedge_export.reference.forward import Array
from embedge_export.reference.values import Values

Trace = Callable[[Sequence[int]], list[Array]]
"""Token ids of a text -> normalised embeddings, then each layer's normalised output. Shapes: ``(tokens, channels)``."""

# Channels with smaller weights than this share of the largest are left out: dividing by them gives noise.
_SMALLEST_WEIGHT = 1e-3


def trace_graph(bundle: Bundle, choice: Choice, encoder: Encoder, original: Encoder) -> Trace:
    """Run the graph of ``choice``, which was written from ``encoder``, with each layer's output exposed.

    ``original`` is the encoder that ``encoder`` was quantized from, or ``encoder`` itself.
    """
    names = ["embeddings/norm", *(f"layer{number}/norm" for number in range(len(encoder.layers)))]
    variant = bundle.manifest.variants[choice.variant]
    unsigned = Unsigned.load(bundle.file(variant.weights), variant.codes) if choice.graph.unsigned else None
    values = Values(bundle.file(choice.graph.file), names, unsigned)
    norms, kept = _norms(encoder), _kept(original)

    def trace(ids: Sequence[int]) -> list[Array]:
        return [_normalized(*each) for each in zip([value[0] for value in values(ids)], norms, kept, strict=True)]

    return trace


def trace_equations(encoder: Encoder, head: Head) -> Trace:
    """The same by the equations, in double precision."""
    norms, kept = _norms(encoder), _kept(encoder)

    def trace(ids: Sequence[int]) -> list[Array]:
        outputs = equations.layer_outputs(encoder, [ids])
        if head.first_token_only:
            outputs[-1] = outputs[-1][:1]  # all that the graph computes
        return [_normalized(*each) for each in zip(outputs, norms, kept, strict=True)]

    return trace


def count_operators(graph: Path) -> dict[str, int]:
    """How many nodes of each operator a graph has."""
    return dict(Counter(node.op_type for node in onnx.load(graph, load_external_data=False).graph.node))


def relative_errors(
    expected: Trace, variants: Sequence[Trace], texts: Sequence[Sequence[int]]
) -> list[npt.NDArray[np.float64]]:
    """``|x - expected| / |expected|`` of the embeddings and of each layer, over all tokens of ``texts``.

    Shape: one ``(1 + layers,)`` for each of ``variants``.
    """
    sums: list[list[float]] = []
    errors: list[list[list[float]]] = [[] for _ in variants]
    for ids in texts:
        right = expected(ids)
        sums.append([_square(x) for x in right])
        for trace, found in zip(variants, errors, strict=True):
            found.append([_square(x - y) for x, y in zip(trace(ids), right, strict=True)])
    total = np.maximum(np.sum(sums, axis=0), np.finfo(np.float64).tiny)
    return [np.sqrt(np.sum(found, axis=0) / total) for found in errors]


def _norms(encoder: Encoder) -> list[LayerNorm]:
    return [encoder.norm, *(layer.output_norm for layer in encoder.layers)]


def _kept(encoder: Encoder) -> list[npt.NDArray[np.bool_]]:
    weights = [np.abs(norm.weight) for norm in _norms(encoder)]
    return [weight > _SMALLEST_WEIGHT * weight.max() for weight in weights]


def _normalized(output: Array, norm: LayerNorm, kept: npt.NDArray[np.bool_]) -> Array:
    normalized: Array = (output[:, kept].astype(np.float64) - norm.bias[kept]) / norm.weight[kept]
    return normalized


def _square(x: Array) -> float:
    return float((x * x).sum())
