"""The values inside a graph: what its nodes give for a text."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper

from embedge.engine.cpus import cpu_budget
from embedge.engine.sessions import CPU
from embedge_export.reference.forward import Array

import onnxruntime  # isort: skip - after embedge.engine.sessions, which switches its telemetry off


def expose(graph: Path, names: Sequence[str]) -> Callable[[Sequence[int]], list[Array]]:
    """A function from the token ids of a text to the float32 values ``names`` of ``graph``, for a batch of one."""
    model = onnx.load(graph, load_external_data=False)
    outputs = {output.name for output in model.graph.output}
    model.graph.output.extend(
        helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in names if name not in outputs
    )
    options = onnxruntime.SessionOptions()
    # As the runtime has it, so that the same kernels run.
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = cpu_budget().threads
    options.add_session_config_entry("session.model_external_initializers_file_folder_path", str(graph.parent))
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=[CPU])

    def values(ids: Sequence[int]) -> list[Array]:
        found: list[Array] = session.run(list(names), {"input_ids": np.array([ids], np.int64)})
        return found

    return values
