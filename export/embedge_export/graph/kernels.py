"""An int8 encoder as a graph of the operators in ``embedge-kernels``: one for each layer.

``input_ids`` ``(tokens,)`` int64, those of all texts joined end to end; ``offsets`` ``(texts + 1,)`` int64, where each
text begins and the last one ends; ``spread`` ``()`` int64, over how many threads a run goes -> ``embedding`` ``(texts,
dimensions)``. The operators are described in ``runtime/kernels``. Between them lie rows of mean 0 and variance 1: each
reads them by the LayerNorm's weight and bias that it needs, folded for a product or plain for the residual.

Constants have the names that :mod:`.cpu` gives them, and so their places in the weights file. What comes after the
pooling is ONNX's operators. Their int8 matrices, small ones, lie there a second time as unsigned numbers: products of
those are exact on every CPU (see :func:`embedge_export.graph.cpu.author`).
"""

from typing import NamedTuple

from embedge_export.encoder import (
    Encoder,
    Head,
    Layer,
    LayerNorm,
    Linear,
    Pooling,
    QuantizedLinear,
    QuantizedTable,
)
from embedge_export.graph.builder import KERNELS, GraphBuilder
from embedge_export.graph.cpu import plain_norm
from embedge_export.graph.head import add_layers, finish

INPUTS = {"input_ids": ["tokens"], "offsets": ["offsets"], "spread": []}
"""The graph's inputs and their shapes."""

# The kernels multiply blocks of so many channels.
_LANES = 32


class _Normed(NamedTuple):
    """Normalised rows, and the LayerNorm whose weight and bias they lack, which has constants of this name."""

    rows: str
    name: str
    norm: LayerNorm


def takes(encoder: Encoder) -> bool:
    """Whether there are kernels for an encoder of these widths, once it is in int8."""
    widths = [encoder.hidden_size, *(len(layer.intermediate.bias) for layer in encoder.layers)]
    return all(width % _LANES == 0 for width in widths)


def author(encoder: Encoder, head: Head) -> GraphBuilder:
    """Write the graph of ``encoder``, which is in int8 and which :func:`takes`; ends in the value ``embedding``."""
    g = GraphBuilder(head.width(encoder.hidden_size), inputs=INPUTS, stores_unsigned=True)
    x = _embeddings(g, encoder)
    for number, layer in enumerate(encoder.layers):
        first_only = head.first_token_only and number == len(encoder.layers) - 1
        x = _layer(g, f"layer{number}", encoder, layer, x, first_only=first_only)
    pooled = [
        _pool(g, f"pool{n}/{mode}", x, mode, first_only=head.first_token_only) for n, mode in enumerate(head.pooling)
    ]
    vector = add_layers(g, pooled, head)
    if head.normalize:
        vector = g.add("Normalize", "normalized", vector, domain=KERNELS)
    finish(g, vector, head)
    return g


def _embeddings(g: GraphBuilder, encoder: Encoder) -> _Normed:
    assert isinstance(encoder.words, QuantizedTable)
    second = [] if encoder.second is None else [g.constant("second/vector", encoder.second)]
    rows = g.add(
        "Embeddings",
        "embeddings",
        "input_ids",
        "offsets",
        g.constant("words/table", encoder.words.codes),
        g.constant("words/scales", encoder.words.scale),
        g.constant("positions/table", encoder.positions),
        *second,
        domain=KERNELS,
        epsilon=encoder.epsilon,
        pad_id=-1 if encoder.pad_id is None else encoder.pad_id,
    )
    return _Normed(rows, "embeddings/norm", encoder.norm)


def _layer(g: GraphBuilder, name: str, encoder: Encoder, layer: Layer, x: _Normed, *, first_only: bool) -> _Normed:
    """With ``first_only``, only the first token of each text goes on from the attention."""
    hidden = encoder.hidden_size
    qkv, output = _quantized(layer.qkv), _quantized(layer.output)
    attention, intermediate = _quantized(layer.attention_output), _quantized(layer.intermediate)
    key_value: list[str] = []
    if first_only:
        query = _matrix(g, f"{name}/query", qkv.columns(0, hidden))
        key_value = _matrix(g, f"{name}/kv", qkv.columns(hidden, 3 * hidden))
    else:
        query = _matrix(g, f"{name}/qkv", qkv)
    assert output.smoothing is not None
    rows = g.add(
        "EncoderLayer",
        name,
        x.rows,
        "offsets",
        "spread",
        *_norm(g, x.name, x.norm),
        *query,
        *_codes(g, f"{name}/attention_output", attention),
        *_norm(g, f"{name}/attention_output/plain", plain_norm(x.norm, attention.bias)),
        *_norm(g, f"{name}/attention_norm", layer.attention_norm),
        *_matrix(g, f"{name}/intermediate", intermediate),
        g.constant(f"{name}/output/smoothing", 1 / output.smoothing),
        *_codes(g, f"{name}/output", output),
        *_norm(g, f"{name}/output/plain", plain_norm(layer.attention_norm, output.bias)),
        *key_value,
        domain=KERNELS,
        heads=encoder.heads,
        activation=encoder.activation,
        epsilon=encoder.epsilon,
        zero_point=output.zero_point,
        smallest_scale=output.smallest_scale,
        first_only=int(first_only),
    )
    return _Normed(rows, f"{name}/norm", layer.output_norm)


def _pool(g: GraphBuilder, name: str, x: _Normed, mode: Pooling, *, first_only: bool) -> str:
    """Shape: ``(rows, hidden)`` -> ``(texts, hidden)``."""
    norm = _norm(g, x.name, x.norm)
    return g.add("Pooling", name, x.rows, "offsets", *norm, domain=KERNELS, mode=mode, first_only=int(first_only))


def _quantized(linear: Linear | QuantizedLinear) -> QuantizedLinear:
    assert isinstance(linear, QuantizedLinear)
    return linear


def _matrix(g: GraphBuilder, name: str, linear: QuantizedLinear) -> list[str]:
    return [*_codes(g, name, linear), g.constant(f"{name}/bias", linear.bias)]


def _codes(g: GraphBuilder, name: str, linear: QuantizedLinear) -> list[str]:
    return [g.matrix(f"{name}/codes", linear.codes), g.constant(f"{name}/scales", linear.scale)]


def _norm(g: GraphBuilder, name: str, norm: LayerNorm) -> list[str]:
    return [g.constant(f"{name}/weight", norm.weight), g.constant(f"{name}/bias", norm.bias)]
