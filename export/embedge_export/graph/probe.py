"""Writes ``runtime/embedge/engine/probe.onnx``, by which the runtime finds out whether int8 products overflow here.

``python -m embedge_export.graph.probe FILE``
"""

import sys
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper


def write(path: Path) -> None:
    """A ``MatMulIntegerToFloat`` of x, unsigned 8-bit ``(rows, 64)``, by a matrix of 127, ``(64, 64)``."""
    constants = {
        "weight": np.full((64, 64), 127, np.int8),
        "x_scale": np.float32(1),
        "weight_scale": np.ones(64, np.float32),
        "zero": np.uint8(0),
    }
    node = helper.make_node(
        "MatMulIntegerToFloat", ["x", "weight", "x_scale", "weight_scale", "zero"], ["y"], domain="com.microsoft"
    )
    graph = helper.make_graph(
        [node],
        "probe",
        [helper.make_tensor_value_info("x", TensorProto.UINT8, ["rows", 64])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["rows", 64])],
        [onnx.numpy_helper.from_array(np.array(value), name) for name, value in constants.items()],
    )
    opsets = [helper.make_opsetid("", 21), helper.make_opsetid("com.microsoft", 1)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=10, producer_name="embedge")
    path.write_bytes(model.SerializeToString(deterministic=True))


if __name__ == "__main__":
    write(Path(sys.argv[1]))
