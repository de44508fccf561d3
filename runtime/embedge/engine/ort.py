"""ONNX Runtime, imported with its telemetry off, and the names of its providers.

Other modules take ``onnxruntime`` from here, so that none imports it before this one has switched its telemetry off.
"""

import os
import sys
from importlib import import_module

# The wheels for Linux and macOS report to Microsoft from 1.29 on; they read this when they are imported.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"

from embedge.errors import ProviderError


def _in_subinterpreter() -> bool:
    try:
        interpreters = import_module("_interpreters" if sys.version_info >= (3, 13) else "_xxsubinterpreters")
    except ImportError:  # another implementation of Python
        return False
    return bool(interpreters.get_current() != interpreters.get_main())


if _in_subinterpreter():
    # Importing onnxruntime would wait for ever for the lock of the main interpreter.
    raise ProviderError("ONNX Runtime does not run in a subinterpreter: use the main one, threads or processes")

import onnxruntime  # noqa: E402

__all__ = ["CPU", "CUDA", "TENSORRT", "onnxruntime"]

try:
    # Where the program imported onnxruntime first, the variable came too late.
    onnxruntime.disable_telemetry_events()
except AttributeError as exc:
    raise ProviderError(
        "onnxruntime is installed, but its files are gone, as when one of onnxruntime and onnxruntime-gpu is "
        "uninstalled and the other stays: uninstall both, then install one"
    ) from exc

CPU = "CPUExecutionProvider"
CUDA = "CUDAExecutionProvider"
TENSORRT = "TensorrtExecutionProvider"
