"""The kernels as they are installed: the package is light, and ONNX Runtime takes the library."""

import importlib.metadata
import subprocess
import sys
from pathlib import Path

import onnxruntime
import pytest

embedge_kernels = pytest.importorskip("embedge_kernels")


def test_the_version_is_the_distributions() -> None:
    assert embedge_kernels.__version__ == importlib.metadata.version("embedge-kernels")


def test_onnxruntime_takes_the_library() -> None:
    assert Path(embedge_kernels.library()).is_file()
    onnxruntime.SessionOptions().register_custom_ops_library(embedge_kernels.library())


def test_importing_the_package_imports_nothing_more() -> None:
    """But for the standard library."""
    code = "import sys; before = set(sys.modules); import embedge_kernels; print(*set(sys.modules) - before)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    imported = {name.partition(".")[0] for name in done.stdout.split()}
    assert imported - sys.stdlib_module_names == {"embedge_kernels"}
