"""The shared library of operators that embedge's int8 encoders can run on; embedge loads it into ONNX Runtime."""

import os
import sys

__all__ = ["__version__", "library"]

__version__ = "0.1.0"

_NAMES = {"darwin": "libembedge_kernels.dylib", "win32": "embedge_kernels.dll"}


def library() -> str:
    """The library's path, for ``onnxruntime.SessionOptions.register_custom_ops_library``."""
    name = _NAMES.get(sys.platform, "libembedge_kernels.so")
    return os.path.join(os.path.dirname(__file__), name)  # noqa: PTH118, PTH120 - pathlib is slower to import
