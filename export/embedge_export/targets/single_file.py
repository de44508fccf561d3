"""A bundle as one ONNX file that takes texts and gives vectors: tokenizer, prompts, encoder and weights in it.

::

    texts     string (n,)       what is to be embedded
    is_query  bool (1,)         whether they are queries, which get the query prompt; others get the document prompt
    vectors   float32 (n, dimensions)

Any program that has ONNX Runtime can run it, with nothing registered: all operators are ONNX Runtime's own. Texts go
through the encoder one by one, without padding, so that each has the bits that it has alone. int8 matrices are stored
as unsigned numbers, which every CPU multiplies exactly; see :func:`embedge_export.graph.cpu.author`.
"""

from collections.abc import Mapping

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from embedge.bundle import Bundle
from embedge.errors import ExportError
from embedge.manifest import TOKENIZER, Graph, Manifest
from embedge_export.graph.builder import GraphBuilder
from embedge_export.targets.tokenization import add_tokenizer
from embedge_export.targets.words import read_words

INPUTS, OUTPUT = ("texts", "is_query"), "vectors"

# The oldest opsets with RegexFullMatch and StringConcat, and with LabelEncoder for whole numbers.
_OPSET, _ML_OPSET, _IR_VERSION = 20, 4, 10
# What a file in protobuf's format can have.
_MOST_BYTES = 2**31 - 1


def author(bundle: Bundle) -> onnx.ModelProto:
    """The graph with its weights: of the bundle's int8 variant, else of its fp32 one.

    Raises:
        BundleCorrupt: the bundle has other bytes than it was sealed with.
        ExportError: a bundle that can't be one file, with the reason.
    """
    manifest = bundle.manifest
    if manifest.task != "embed":
        raise ExportError(f"{bundle.path} is a reranker: only models that embed texts become a file that takes texts")
    variant, graph = _choose(manifest)
    bundle.ensure_sealed(variant)
    encoder = onnx.load(bundle.file(graph.file), load_external_data=False)
    opset = next(opset.version for opset in encoder.opset_import if opset.domain == "")
    if opset < _OPSET:
        raise ExportError(
            f"{bundle.path} has a traced graph of ONNX's opset {opset}: only graphs of {_OPSET} or later, such as the "
            "hand-written ones, can have a tokenizer; run the bundle itself"
        )
    words = read_words(bundle.file(TOKENIZER).read_bytes())
    g = GraphBuilder(manifest.dimensions, opset=opset)
    body = g.inner()
    text = body.add("Gather", "text/one", INPUTS[0], "text/number")
    text = body.add("Unsqueeze", "text", text, body.integers(0))
    prompt = _prompt(g, manifest)
    prompted = body.add("StringConcat", "text/prompted", prompt, text)
    add_tokenizer(body, prompted, words, manifest.tokenizer, manifest.max_tokens)
    body.nodes += encoder.graph.node
    body.add("Reshape", "text/vector", "embedding", body.integers(manifest.dimensions))
    body.add("Identity", "text/go_on", "text/go_on_in")
    count = g.add("Shape", "texts/count", INPUTS[0])
    g.add("Loop", OUTPUT, g.add("Squeeze", "texts/trips", count), "", body=_body(body))
    weights = [numpy_helper.from_array(value, name) for name, value in g.constants.items()]
    # Small constants of one name have one value, in every graph.
    weights += [tensor for tensor in _weights(bundle, variant, graph, encoder) if tensor.name not in g.constants]
    if sum(tensor.ByteSize() for tensor in weights) > _MOST_BYTES:
        raise ExportError(f"{bundle.path} is larger than the 2 GB that one ONNX file can have: run the bundle itself")
    return _model(g, weights, encoder, _facts(bundle, variant))


def _choose(manifest: Manifest) -> tuple[str, Graph]:
    """The variant and its graph that run on every CPU with ONNX Runtime alone."""
    for name, variant in manifest.variants.items():
        for graph in variant.graphs:
            if graph.execution == "ragged" and not graph.needs:
                return name, graph
    raise ExportError(
        f"the bundle has {', '.join(manifest.variants)} and nothing for CPUs: export the checkpoint again with "
        "--precision int8"
    )


def _prompt(g: GraphBuilder, manifest: Manifest) -> str:
    """What is put in front of each text. Shape: ``(1,)``."""
    query, document = (
        g.constant(f"prompt/{kind}", np.array([manifest.prompt(kind)], object)) for kind in ("query", "document")
    )
    return g.add("Where", "prompt", INPUTS[1], query, document)


def _body(body: GraphBuilder) -> onnx.GraphProto:
    inputs = [("text/number", TensorProto.INT64), ("text/go_on_in", TensorProto.BOOL)]
    return helper.make_graph(
        body.nodes,
        "text",
        [helper.make_tensor_value_info(name, kind, []) for name, kind in inputs],
        [
            helper.make_tensor_value_info("text/go_on", TensorProto.BOOL, []),
            helper.make_tensor_value_info("text/vector", TensorProto.FLOAT, [body.width]),
        ],
    )


def _weights(bundle: Bundle, variant: str, graph: Graph, encoder: onnx.ModelProto) -> list[TensorProto]:
    """The encoder's constants, with their numbers in them."""
    sealed = bundle.manifest.variants[variant]
    weights = np.memmap(bundle.file(sealed.weights), np.uint8, "r")
    tensors = []
    for tensor in encoder.graph.initializer:
        if tensor.data_location == TensorProto.EXTERNAL:
            place = {entry.key: entry.value for entry in tensor.external_data}
            start = int(place["offset"])
            numbers = weights[start : start + int(place["length"])]
            if graph.unsigned and tensor.name in sealed.codes:
                numbers = numbers ^ np.uint8(128)
            tensor = TensorProto(
                name=tensor.name, dims=tensor.dims, data_type=tensor.data_type, raw_data=numbers.tobytes()
            )
        tensors.append(tensor)
    return tensors


def _facts(bundle: Bundle, variant: str) -> dict[str, str]:
    """What a program can read of the file beside its inputs."""
    manifest = bundle.manifest
    facts = {
        "model": manifest.source.id,
        "licence": manifest.source.license,
        "bundle": manifest.identity(),
        "variant": variant,
        "max_tokens": str(manifest.max_tokens),
        "similarity": manifest.similarity,
        "query_prompt": manifest.prompt("query"),
        "document_prompt": manifest.prompt("document"),
    }
    return {name: value for name, value in facts.items() if value is not None}


def _model(
    g: GraphBuilder, weights: list[TensorProto], encoder: onnx.ModelProto, facts: Mapping[str, str]
) -> onnx.ModelProto:
    texts, is_query = INPUTS
    domains = {opset.domain: opset.version for opset in encoder.opset_import}
    domains |= {"ai.onnx.ml": _ML_OPSET, "com.microsoft": 1}
    model = helper.make_model(
        helper.make_graph(
            g.nodes,
            "embedder",
            [
                helper.make_tensor_value_info(texts, TensorProto.STRING, ["n"]),
                helper.make_tensor_value_info(is_query, TensorProto.BOOL, [1]),
            ],
            [helper.make_tensor_value_info(OUTPUT, TensorProto.FLOAT, ["n", g.width])],
            weights,
        ),
        opset_imports=[helper.make_opsetid(domain, version) for domain, version in domains.items()],
        ir_version=_IR_VERSION,
        producer_name="embedge",
    )
    helper.set_model_props(model, dict(facts))
    return model
