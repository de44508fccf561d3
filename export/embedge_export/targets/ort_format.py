"""A graph in ONNX Runtime's own format, which builds of it read that are reduced to a few operators.

Nothing is optimised on the way: the graph is written for the kernels that are fast, as it is.
"""

from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import onnx

from embedge.engine.ort import CPU, onnxruntime
from embedge.errors import ExportError

OPERATORS = ".required_operators.config"
"""How the name of the list of operators ends."""


def write(model: onnx.ModelProto, out: Path) -> None:
    """Write ``model``, with its weights, to ``out``; ``ExportError`` where ONNX Runtime can't."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.optimized_model_filepath = str(out)
    options.add_session_config_entry("session.save_model_format", "ORT")
    options.log_severity_level = 4
    try:
        onnxruntime.InferenceSession(model.SerializeToString(), options, providers=[CPU])
    except Exception as exc:
        raise ExportError(f"ONNX Runtime {onnxruntime.__version__} can't write its own format: {exc}") from exc


def required_operators(model: onnx.ModelProto) -> str:
    """The list of its operators that ONNX Runtime's ``build.py`` takes as ``--include_ops_by_config``.

    A line has a domain, a version and the operators that have been the same since then.
    """
    versions = {opset.domain: opset.version for opset in model.opset_import}
    found = defaultdict(set)
    for node in _nodes(model.graph):
        since = versions[node.domain]
        if onnx.defs.has(node.op_type, node.domain):
            since = onnx.defs.get_schema(node.op_type, since, node.domain).since_version
        found[node.domain or "ai.onnx", since].add(node.op_type)
    return "".join(f"{domain};{since};{','.join(sorted(found[domain, since]))}\n" for domain, since in sorted(found))


def _nodes(graph: onnx.GraphProto) -> Iterator[onnx.NodeProto]:
    """Those of loops' bodies, too."""
    for node in graph.node:
        yield node
        for attribute in node.attribute:
            if attribute.type == onnx.AttributeProto.GRAPH:
                yield from _nodes(attribute.g)
