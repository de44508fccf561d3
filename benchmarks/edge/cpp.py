"""The example in C++, compiled against the ONNX Runtime that Python's package brings."""

import shutil
import subprocess
from pathlib import Path

from benchmarks.speed.environments import ROOT, Unavailable
from embedge.engine.ort import onnxruntime

# A header that stands in for ONNX Runtime's, which no package index has.
_INCLUDE = ROOT / "tests" / "examples" / "include"
_SOURCE = ROOT / "examples" / "cpp" / "embed.cpp"


def build(place: Path) -> Path:
    """The program, in the directory ``place``; :class:`Unavailable` without a compiler or ONNX Runtime's library."""
    compiler = shutil.which("g++") or shutil.which("clang++")
    if not compiler:
        raise Unavailable("no C++ compiler is installed")
    library = place / "libonnxruntime.so.1"  # its own name for itself
    library.symlink_to(native_library())
    options: list[str | Path] = [
        "-std=c++17",
        "-O2",
        "-Wall",
        "-Wextra",
        "-Werror",
        "-I",
        _INCLUDE,
        f"-Wl,-rpath,{place}",
    ]
    subprocess.run([compiler, *options, _SOURCE, "-o", place / "embed", library], check=True)
    return place / "embed"


def native_library() -> Path:
    """ONNX Runtime's shared library; :class:`Unavailable` where Python's package has none."""
    libraries = sorted(Path(onnxruntime.__file__).parent.glob("capi/libonnxruntime.so.1*"))
    if not libraries:
        raise Unavailable("Python's package of ONNX Runtime has no libonnxruntime.so here")
    return libraries[0]
