"""ONNX graphs put together node by node, and written as a small graph and a file of weights."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper

# The oldest opset that has the operators used here, for the widest choice of runtimes.
_OPSET = 21
_IR_VERSION = 10
_MICROSOFT = "com.microsoft"
# Larger tensors go to the weights file, each at a multiple of a cache line.
_INLINE_BYTES = 1024
_ALIGNMENT = 64


class GraphBuilder:
    """Nodes and constants of a graph; each method that adds one returns the name of its value."""

    def __init__(self, width: int, activation_bits: int, opset: int = _OPSET) -> None:
        """An empty graph for vectors of ``width``; inputs of quantized matrices are rounded to ``activation_bits``."""
        self.width = width
        self.opset = opset
        self.activation_bits = activation_bits
        self.nodes: list[onnx.NodeProto] = []
        self.constants: dict[str, npt.NDArray[Any]] = {}

    def constant(self, name: str, value: npt.NDArray[Any]) -> str:
        """A constant, once for each name."""
        self.constants.setdefault(name, value)
        return name

    def integers(self, *values: int) -> str:
        """A constant vector of int64."""
        return self.constant("integers/" + ",".join(map(str, values)), np.array(values, np.int64))

    def scalar(self, value: np.float32 | np.uint8 | np.int64) -> str:
        """A constant scalar."""
        return self.constant(f"{value.dtype}/{value}", np.array(value))

    def add(self, kind: str, name: str, *inputs: str, domain: str = "", **attributes: Any) -> str:
        """A node with one output, which has the node's name."""
        return self.add_many(kind, [name], *inputs, domain=domain, **attributes)[0]

    def add_many(
        self, kind: str, names: Sequence[str], *inputs: str, domain: str = "", **attributes: Any
    ) -> Sequence[str]:
        """A node with several outputs."""
        self.nodes.append(helper.make_node(kind, inputs, names, names[0], domain=domain, **attributes))
        return names


def save(g: GraphBuilder, graph: Path, weights: Path) -> None:
    """Write the graph as ``graph`` and ``weights``, which must lie in one directory; the same bytes every time.

    Graphs of one encoder that differ in ``activation_bits`` have the same weights file.
    """
    tensors = []
    with weights.open("wb") as out:
        for name, value in g.constants.items():
            if value.nbytes < _INLINE_BYTES:
                tensors.append(onnx.numpy_helper.from_array(value, name))
                continue
            out.write(b"\0" * (-out.tell() % _ALIGNMENT))
            tensor = TensorProto(name=name, dims=value.shape, data_type=helper.np_dtype_to_tensor_dtype(value.dtype))
            tensor.data_location = TensorProto.EXTERNAL
            for key, text in (("location", weights.name), ("offset", out.tell()), ("length", value.nbytes)):
                tensor.external_data.add(key=key, value=str(text))
            tensors.append(tensor)
            out.write(np.ascontiguousarray(value).data)
    model = helper.make_model(
        helper.make_graph(
            g.nodes,
            "encoder",
            [helper.make_tensor_value_info("input_ids", TensorProto.INT64, ["batch", "tokens"])],
            [helper.make_tensor_value_info("embedding", TensorProto.FLOAT, ["batch", g.width])],
            tensors,
        ),
        opset_imports=[helper.make_opsetid("", g.opset), helper.make_opsetid(_MICROSOFT, 1)],
        ir_version=_IR_VERSION,
        producer_name="embedge",
    )
    graph.write_bytes(model.SerializeToString(deterministic=True))
