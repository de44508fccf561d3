"""A traced graph made into one of ours: token ids in, one vector out, products of one value merged, matrices in int8.

Since the runtime never pads, the attention mask is all ones and is taken out where an operator has it as an input of
its own.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx

from embedge.errors import ExportError
from embedge_export.encoder import FloatArray, Head, QuantizedLinear, QuantizedTable
from embedge_export.graph import cpu
from embedge_export.graph.builder import GraphBuilder
from embedge_export.graph.head import add_head
from embedge_export.graph.products import quantized_product
from embedge_export.quantize.rounding import round_rows

# What the other inputs of encoders are when there is one text of one segment, without padding.
_FILLED = {"attention_mask": 1, "token_type_ids": 0}
# MultiHeadAttention's inputs are query, key, value, bias, padding mask, ...
_PADDING_MASK = 4
_ACTIVATIONS = ("Gelu", "FastGelu", "QuickGelu", "Relu")


@dataclass(frozen=True)
class Product:
    """Matrices that multiply one value, as those of query, key and value do. They are computed, and quantized, as one.

    Attributes:
        input: the value. Shape: ``(batch, tokens, in)``.
        outputs: its products, one for each matrix. Shape: ``(batch, tokens, out)``.
        weights: the names of the matrices.
        one_sided: whether the value comes from an activation that lets hardly anything negative through.
    """

    input: str
    outputs: tuple[str, ...]
    weights: tuple[str, ...]
    one_sided: bool


@dataclass(frozen=True)
class TracedGraph:
    """A traced graph whose only input is ``input_ids``."""

    nodes: tuple[onnx.NodeProto, ...]
    constants: dict[str, npt.NDArray[Any]]
    products: tuple[Product, ...]
    output: str
    opset: int

    def weight(self, product: Product) -> FloatArray:
        """Its matrices side by side. Shape: ``(in, out)``."""
        return np.concatenate([self.constants[name] for name in product.weights], axis=1)


def read(model: onnx.ModelProto) -> TracedGraph:
    """Take the inputs beside ``input_ids`` and the padding masks out of a traced graph; raises ``ExportError``."""
    inputs = [value.name for value in model.graph.input]
    unknown = sorted({*inputs} - {"input_ids", *_FILLED})
    if "input_ids" not in inputs or unknown:
        raise ExportError(f"the traced graph has the inputs {', '.join(inputs)}: embedge has token ids only")
    g = GraphBuilder(0)
    shape = g.add("Shape", "input_ids/shape", "input_ids")
    for name in inputs:
        if name in _FILLED:
            g.add(
                "ConstantOfShape", name, shape, value=onnx.numpy_helper.from_array(np.array([_FILLED[name]], np.int64))
            )
    constants = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    producers = {name: node for node in model.graph.node for name in node.output}
    for node in model.graph.node:
        masked = node.op_type == "MultiHeadAttention" and len(node.input) > _PADDING_MASK
        if masked and not _reads_ids(node.input[_PADDING_MASK], producers):
            node.input[_PADDING_MASK] = ""
    output = model.graph.output[0].name
    nodes = _needed([*g.nodes, *model.graph.node], output)
    opset = next(opset.version for opset in model.opset_import if opset.domain in ("", "ai.onnx"))
    return TracedGraph(tuple(nodes), constants, _products(nodes, constants), output, opset)


def author(
    traced: TracedGraph,
    dimensions: int,
    head: Head,
    quantized: Mapping[tuple[str, ...], QuantizedLinear],
    *,
    unsigned: bool,
) -> GraphBuilder:
    """The graph; with the products in int8 that ``quantized`` has by the names of their weights, and then the words."""
    g = GraphBuilder(dimensions, unsigned=unsigned, opset=traced.opset)
    first = {product.outputs[0]: product for product in traced.products}
    others = {output for product in traced.products for output in product.outputs[1:]}
    for node in traced.nodes:
        name = node.output[0]
        if name in first:
            _multiply(g, traced, first[name], quantized.get(first[name].weights))
        elif quantized and _looks_words_up(node, traced.constants):
            cpu.words(g, name, QuantizedTable(*round_rows(traced.constants[node.input[0]])))
        elif name not in others:
            g.nodes.append(node)
    add_head(g, traced.output, head)
    used = {name for node in g.nodes for name in _reads(node)}
    for name, value in traced.constants.items():
        if name in used:
            g.constant(name, value)
    return g


def _multiply(g: GraphBuilder, traced: TracedGraph, product: Product, linear: QuantizedLinear | None) -> None:
    merged = len(product.outputs) > 1
    name = f"{product.outputs[0]}/merged" if merged else product.outputs[0]
    # Layers that share their weights share these constants too.
    weights = "+".join(product.weights)
    if linear is None:
        g.add("MatMul", name, product.input, g.constant(weights, traced.weight(product)))
    else:
        y = quantized_product(g, name, product.input, linear, shared=weights)
        g.add("Add", name, y, g.constant(f"{weights}/bias", linear.bias))
    if merged:
        widths = [traced.constants[weight].shape[1] for weight in product.weights]
        g.add_many("Split", product.outputs, name, g.integers(*widths), axis=-1)


def _products(nodes: Sequence[onnx.NodeProto], constants: Mapping[str, npt.NDArray[Any]]) -> tuple[Product, ...]:
    producers = {name: node for node in nodes for name in node.output}
    by_input: dict[str, list[onnx.NodeProto]] = defaultdict(list)
    for node in nodes:
        if node.op_type == "MatMul" and node.input[0] not in constants and _is_matrix(constants.get(node.input[1])):
            by_input[node.input[0]].append(node)
    return tuple(
        Product(
            name,
            tuple(node.output[0] for node in group),
            tuple(node.input[1] for node in group),
            name in producers and producers[name].op_type in _ACTIVATIONS,
        )
        for name, group in by_input.items()
    )


def _is_matrix(constant: npt.NDArray[Any] | None) -> bool:
    return constant is not None and constant.ndim == 2


def _looks_words_up(node: onnx.NodeProto, constants: Mapping[str, npt.NDArray[Any]]) -> bool:
    return node.op_type == "Gather" and node.input[1] == "input_ids" and node.input[0] in constants


def _reads_ids(name: str, producers: Mapping[str, onnx.NodeProto]) -> bool:
    """Whether a value depends on which tokens a text has, and not on how many and on the attention mask alone."""
    if name == "input_ids":
        return True
    node = producers.get(name)
    return node is not None and node.op_type != "Shape" and any(_reads_ids(each, producers) for each in _reads(node))


def _needed(nodes: Sequence[onnx.NodeProto], output: str) -> list[onnx.NodeProto]:
    """The nodes that ``output`` depends on, in their order."""
    needed, kept = {output}, []
    for node in reversed(nodes):
        if needed.intersection(node.output):
            needed.update(_reads(node))
            kept.append(node)
    return kept[::-1]


def _reads(node: onnx.NodeProto) -> Iterable[str]:
    """What a node reads, by its inputs and within its branches."""
    yield from node.input
    for attribute in node.attribute:
        for branch in [attribute.g, *attribute.graphs]:
            for inner in branch.node:
                yield from _reads(inner)
            yield from (value.name for value in branch.output)
