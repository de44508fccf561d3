"""What the installed ONNX Runtime is slow in on this CPU, found by timing it."""

import statistics
import time

import numpy as np
import onnx
from onnx import TensorProto, helper

from embedge.engine.ort import CPU, onnxruntime

# 64 tokens of a small model.
_SHAPE = (1, 64, 384)
_ROUNDS, _RUNS = 7, 20
# In versions 1.30 to 1.32 the fused operator takes five times as long as the two it replaces. When it is slower it is
# much slower, and a gain below this threshold is not worth taking.
_WORTHWHILE = 0.9


def skip_layer_norm_is_fast() -> bool:
    """Whether ``SkipLayerNormalization`` takes clearly less than ``Add`` and ``LayerNormalization``; 10 to 30 ms."""
    x = np.random.default_rng(0).normal(size=_SHAPE).astype(np.float32)
    plain, fused = _session(fused=False), _session(fused=True)
    times: dict[onnxruntime.InferenceSession, list[float]] = {plain: [], fused: []}
    for _ in range(_ROUNDS):
        for session, took in times.items():
            start = time.perf_counter()
            for _ in range(_RUNS):
                session.run(None, {"x": x})
            took.append(time.perf_counter() - start)
    return statistics.median(times[fused]) < _WORTHWHILE * statistics.median(times[plain])


def _session(*, fused: bool) -> onnxruntime.InferenceSession:
    if fused:
        nodes = [helper.make_node("SkipLayerNormalization", ["x", "x", "w", "w"], ["y"], domain="com.microsoft")]
    else:
        nodes = [
            helper.make_node("Add", ["x", "x"], ["sum"]),
            helper.make_node("LayerNormalization", ["sum", "w", "w"], ["y"], axis=-1),
        ]
    model = helper.make_model(
        helper.make_graph(
            nodes,
            "norm",
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, _SHAPE)],
            [helper.make_tensor_value_info("y", TensorProto.FLOAT, _SHAPE)],
            [onnx.numpy_helper.from_array(np.ones(_SHAPE[-1], np.float32), "w")],
        ),
        opset_imports=[helper.make_opsetid("", 17), helper.make_opsetid("com.microsoft", 1)],
        ir_version=10,
    )
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL  # which would fuse them
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=[CPU])
