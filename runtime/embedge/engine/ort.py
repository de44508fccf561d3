"""ONNX Runtime, imported with its telemetry off, and the names of its providers.

Other modules take ``onnxruntime`` from here, so that none imports it before this one has switched its telemetry off.
"""

import os

# The wheels for Linux and macOS report to Microsoft from 1.29 on; they read this when they are imported.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"

import onnxruntime

from embedge.errors import ProviderError

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
