"""The values inside a graph: what its nodes give for a text."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper

from embedge.engine.cpus import cpu_budget
from embedge.engine.ort import CPU, onnxruntime
from embedge.engine.weights import Unsigned
from embedge_export.reference.forward import Array


class Values:
    """From the token ids of a text to the float32 values ``names`` of a graph, for a batch of one."""

    def __init__(self, graph: Path, names: Sequence[str], unsigned: Unsigned | None = None) -> None:
        """``unsigned`` are the weights of a graph that takes them so."""
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
        for name, value in unsigned.values.items() if unsigned else ():
            options.add_initializer(name, value)
        self._session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=[CPU])
        self._names = list(names)
        self._unsigned = unsigned  # which the session uses

    def __call__(self, ids: Sequence[int]) -> list[Array]:
        """The values for a text."""
        found: list[Array] = self._session.run(self._names, {"input_ids": np.array([ids], np.int64)})
        return found
