"""ONNX graphs put together node by node, and written as small graphs over a file of weights."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper

from embedge.manifest import Tensor

# The oldest opset that has the operators used here, for the widest choice of runtimes.
_OPSET = 21
_IR_VERSION = 10
_MICROSOFT = "com.microsoft"
KERNELS = "ai.embedge"
"""The domain of embedge-kernels' operators."""
# Larger tensors go to the weights file, each at a multiple of a cache line.
_INLINE_BYTES = 1024
_ALIGNMENT = 64


_INPUTS = {"input_ids": ["batch", "tokens"]}


class GraphBuilder:
    """Nodes and constants of a graph; each method that adds one returns the name of its value."""

    def __init__(
        self,
        width: int,
        *,
        unsigned: bool = False,
        stores_unsigned: bool = False,
        opset: int = _OPSET,
        inputs: Mapping[str, Sequence[str]] = _INPUTS,
    ) -> None:
        """An empty graph for vectors of ``width``; with ``unsigned`` it takes int8 matrices as unsigned numbers.

        With ``stores_unsigned``, ONNX's operators take such numbers too, from constants of their own. ``inputs`` are
        int64, with the names of their dimensions.
        """
        self.width = width
        self.opset = opset
        self.inputs = inputs
        self.unsigned = unsigned
        self.stores_unsigned = stores_unsigned
        self.nodes: list[onnx.NodeProto] = []
        self.constants: dict[str, npt.NDArray[Any]] = {}
        self.codes: set[str] = set()
        """Those of the constants that are int8 matrices."""

    def inner(self) -> "GraphBuilder":
        """An empty graph for the body of a loop; it has the same constants, which lie outside of it."""
        body = GraphBuilder(self.width, opset=self.opset)
        body.constants = self.constants
        return body

    def constant(self, name: str, value: npt.NDArray[Any]) -> str:
        """A constant, once for each name."""
        self.constants.setdefault(name, value)
        return name

    def matrix(self, name: str, codes: npt.NDArray[np.int8]) -> str:
        """A constant int8 matrix, once for each name."""
        self.codes.add(name)
        return self.constant(name, codes)

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

    def name_last(self, name: str) -> None:
        """Give the node that was added last, and its one output, another name."""
        self.nodes[-1].name = self.nodes[-1].output[0] = name


def save(graphs: Mapping[Path, GraphBuilder], weights: Path) -> dict[str, Tensor]:
    """Write each graph to its path, and the constants of all to ``weights`` beside them; the same bytes every time.

    A constant lies there once, whichever graphs have it: those of the first graph, then what the others have beside.

    Returns where in ``weights`` the int8 matrices lie. They lie there as they are, also for an ``unsigned`` graph,
    which only says that they are unsigned: the runtime has to give it numbers that are (`embedge.engine.weights`).
    """
    places: dict[str, int] = {}
    codes: dict[str, Tensor] = {}
    with weights.open("wb") as out:
        for g in graphs.values():
            for name, value in g.constants.items():
                if name in places or _is_inlined(g, name):
                    continue
                out.write(b"\0" * (-out.tell() % _ALIGNMENT))
                places[name] = out.tell()
                if name in g.codes:
                    codes[name] = Tensor(out.tell(), value.shape)
                out.write(np.ascontiguousarray(value).data)
    for path, g in graphs.items():
        path.write_bytes(_model(g, weights.name, places).SerializeToString(deterministic=True))
    return codes


def _is_inlined(g: GraphBuilder, name: str) -> bool:
    return g.constants[name].nbytes < _INLINE_BYTES and name not in g.codes


def _model(g: GraphBuilder, weights: str, places: Mapping[str, int]) -> onnx.ModelProto:
    tensors = []
    for name, value in g.constants.items():
        if _is_inlined(g, name):
            tensors.append(onnx.numpy_helper.from_array(value, name))
            continue
        dtype = np.dtype(np.uint8) if name in g.codes and g.unsigned else value.dtype
        tensor = TensorProto(name=name, dims=value.shape, data_type=helper.np_dtype_to_tensor_dtype(dtype))
        tensor.data_location = TensorProto.EXTERNAL
        for key, text in (("location", weights), ("offset", places[name]), ("length", value.nbytes)):
            tensor.external_data.add(key=key, value=str(text))
        tensors.append(tensor)
    domains = [_MICROSOFT, *{node.domain for node in g.nodes}.intersection([KERNELS])]
    return helper.make_model(
        helper.make_graph(
            g.nodes,
            "encoder",
            [helper.make_tensor_value_info(name, TensorProto.INT64, shape) for name, shape in g.inputs.items()],
            [helper.make_tensor_value_info("embedding", TensorProto.FLOAT, ["batch", g.width])],
            tensors,
        ),
        opset_imports=[helper.make_opsetid("", g.opset), *(helper.make_opsetid(domain, 1) for domain in domains)],
        ir_version=_IR_VERSION,
        producer_name="embedge",
    )
