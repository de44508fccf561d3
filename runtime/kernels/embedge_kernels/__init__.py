"""The shared library of operators that embedge's int8 encoders can run on; embedge loads it into ONNX Runtime."""

import sys
from pathlib import Path

__all__ = ["__version__", "library"]

__version__ = "0.1.0"

_NAMES = {"darwin": "libembedge_kernels.dylib", "win32": "embedge_kernels.dll"}


def library() -> str:
    """The library's path, for ``onnxruntime.SessionOptions.register_custom_ops_library``."""
    name = _NAMES.get(sys.platform, "libembedge_kernels.so")
    return str(Path(__file__).with_name(name))
