"""Graphs of one of embedge's operators each, run by every instruction set that this CPU has."""

import ctypes
import importlib.util
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

Array = npt.NDArray[Any]
Arrays = Mapping[str, Array | None]
Attributes = Mapping[str, int | float | str]

DOMAIN = "ai.embedge"
ISAS = ("scalar", "avx2", "avx_vnni", "avx512_vnni", "neon", "neon_dotprod", "neon_i8mm")
_REQUIRED = "EMBEDGE_REQUIRE_KERNELS"


def library() -> str:
    """The path of the operators' library; where there is none, the test is skipped, or fails if it is required."""
    if importlib.util.find_spec("embedge_kernels") is None:
        reason = "embedge-kernels is not installed"
        if os.environ.get(_REQUIRED) == "1":
            pytest.fail(f"{reason}, and {_REQUIRED} is 1")
        pytest.skip(reason)
    import embedge_kernels

    return str(embedge_kernels.library())


@contextmanager
def chosen(isa: str) -> Iterator[None]:
    """Sessions that are made meanwhile compute with ``isa``; they keep it."""
    before = os.environ.get("EMBEDGE_ISA")
    os.environ["EMBEDGE_ISA"] = isa
    try:
        yield
    finally:
        del os.environ["EMBEDGE_ISA"]
        if before is not None:
            os.environ["EMBEDGE_ISA"] = before


def available() -> list[str]:
    """The instruction sets of this CPU, the reference first."""
    loaded = ctypes.CDLL(library())
    loaded.embedge_isa.restype = ctypes.c_char_p
    found = []
    for isa in ISAS:
        with chosen(isa):
            if loaded.embedge_isa() == isa.encode():
                found.append(isa)
    return found


def options(threads: int = 1) -> onnxruntime.SessionOptions:
    """Those of a session that knows the operators."""
    made = onnxruntime.SessionOptions()
    made.intra_op_num_threads, made.inter_op_num_threads = threads, 1
    made.log_severity_level = 4  # errors are raised, and that is enough
    made.register_custom_ops_library(library())
    return made


def model(
    operator: str, inputs: Arrays, constants: Arrays, attributes: Attributes, order: Sequence[str] | None = None
) -> bytes:
    """A graph of one operator, whose inputs are ``inputs`` and then ``constants``, or as ``order`` has them.

    Those that are ``None`` are left out.
    """

    def described(name: str, array: Array) -> onnx.ValueInfoProto:
        kind = helper.np_dtype_to_tensor_dtype(array.dtype)
        return helper.make_tensor_value_info(name, kind, [None] * array.ndim)

    given = {**inputs, **constants}
    names = ["" if given[name] is None else name for name in order or given]
    node = helper.make_node(operator, names, ["out"], domain=DOMAIN)
    node.attribute.extend(helper.make_attribute(name, value) for name, value in attributes.items())
    graph = helper.make_graph(
        [node],
        operator,
        [described(name, array) for name, array in inputs.items() if array is not None],
        [helper.make_tensor_value_info("out", TensorProto.FLOAT, [None, None])],
        [numpy_helper.from_array(array, name) for name, array in constants.items() if array is not None],
    )
    opsets = [helper.make_opsetid("", 21), helper.make_opsetid(DOMAIN, 1)]
    made: bytes = helper.make_model(graph, opset_imports=opsets, ir_version=10).SerializeToString()
    return made


def run(isa: str, graph: bytes, inputs: Arrays, threads: int = 1) -> Array:
    """What a graph gives by one instruction set."""
    with chosen(isa):
        session = onnxruntime.InferenceSession(graph, options(threads))
    out: Array = session.run(None, {name: array for name, array in inputs.items() if array is not None})[0]
    return out


def run_alike(operator: str, inputs: Arrays, constants: Arrays, attributes: Attributes, threads: int = 1) -> Array:
    """What an operator gives, the same bits by every instruction set; of NaN only the places are compared."""
    graph = model(operator, inputs, constants, attributes)
    reference, *others = available()
    expected = run(reference, graph, inputs)
    for isa in others:
        got = run(isa, graph, inputs, threads)
        assert got.shape == expected.shape
        wrong = (got.view(np.int32) != expected.view(np.int32)) & ~(np.isnan(got) & np.isnan(expected))
        assert not wrong.any(), f"{isa} differs from {reference} in {wrong.sum()} of {wrong.size} numbers"
    return expected


def offsets_of(lengths: Sequence[int]) -> Array:
    """Where texts of some lengths begin, and their end."""
    return np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
