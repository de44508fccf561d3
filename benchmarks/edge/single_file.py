"""A bundle as one file that takes texts, in the formats of ONNX and of ONNX Runtime, from Python and from C++."""

import importlib.metadata
import sys
import tempfile
from pathlib import Path

from benchmarks.edge import Row, cpp
from benchmarks.edge.programs import Figures, measure_command, measure_program, megabytes
from benchmarks.speed.environments import Unavailable
from benchmarks.speed.texts import text_of
from embedge_export import convert

_QUERY = text_of(16, 0)
_PACKAGES = ("numpy", "onnxruntime", "flatbuffers", "packaging", "protobuf")
_PROGRAM = """
import sys
import numpy as np
import onnxruntime
options = onnxruntime.SessionOptions()
options.intra_op_num_threads = 1
session = onnxruntime.InferenceSession(sys.argv[1], options)
inputs = {"texts": np.array([sys.argv[2]], object), "is_query": np.array([True])}
session.run(["vectors"], inputs)
print(flush=True)
import statistics, time
def once():
    started = time.perf_counter()
    session.run(["vectors"], inputs)
    return (time.perf_counter() - started) * 1000
query = statistics.median(once() for _ in range(100))
peak = int(open("/proc/self/status").read().partition("VmHWM:")[2].split()[0]) * 1024
print([query, peak], flush=True)
"""


def measure(bundle: Path) -> list[Row]:
    """Both formats, from Python, and from C++ where there is a compiler."""
    packages = sum(_installed_mb(name) for name in _PACKAGES)
    rows = []
    with tempfile.TemporaryDirectory() as place:
        for name, form in (("onnx", "one ONNX file"), ("ort", "ONNX Runtime's format")):
            model = convert(bundle, Path(place) / f"model.{name}")[0]
            figures = measure_program([sys.executable, "-c", _PROGRAM, model, _QUERY])
            rows.append(_row(f"{form}, Python", megabytes(model) + packages, figures, "onnxruntime and numpy alone"))
        try:
            program, library = cpp.build(Path(place)), cpp.native_library()
        except Unavailable as exc:
            print(f"single_file: {exc}", flush=True)
            return rows
        for name, form in (("onnx", "one ONNX file"), ("ort", "ONNX Runtime's format")):
            model = Path(place) / f"model.{name}"
            figures = measure_command(program, model, _QUERY)
            size = megabytes(model, program, library)
            rows.append(_row(f"{form}, C++", size, figures, "examples/cpp; libonnxruntime.so with all operators"))
    return rows


def _row(target: str, deployed_mb: float, figures: Figures, how: str) -> Row:
    return Row(
        target=target,
        deployed_mb=deployed_mb,
        first_vector_s=figures.first_vector_s,
        query_ms=figures.query_ms,
        peak_mb=figures.peak_mb,
        how=f"{how}; 1 thread",
    )


def _installed_mb(name: str) -> float:
    try:
        files = importlib.metadata.distribution(name).files or []
    except importlib.metadata.PackageNotFoundError:  # of which not every version of ONNX Runtime has need
        return 0
    return megabytes(*(Path(str(file.locate())) for file in files if not file.name.endswith(".pyc")))
