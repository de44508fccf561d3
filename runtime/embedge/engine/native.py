"""The kernels of ``embedge-kernels``, operators of ONNX Runtime in a library, where that package is installed.

``EMBEDGE_KERNELS=0`` in the environment leaves them out. A library that can't be used is no reason to stop: ONNX
Runtime's own kernels do the same work.
"""

import ctypes
import functools
import os
from importlib import import_module
from typing import Any, NamedTuple

from embedge.engine import fork
from embedge.engine.ort import onnxruntime

SWITCH = "EMBEDGE_KERNELS"
"""The environment variable."""
PACKAGE = "embedge_kernels"
# The kernels in plain C++, which are a reference and many times slower than ONNX Runtime's; taken where they are asked
# for.
_REFERENCE, _ASKED = "scalar", "EMBEDGE_ISA"
# The version of the operators' arithmetic that graphs with the need ``kernels`` are written for.
_ARITHMETIC = 1


class Kernels(NamedTuple):
    """What was found."""

    library: str | None
    """The path of the library, where it can be used."""
    description: str
    """The package's version and the instruction set that the kernels use here, or why there are none."""
    problem: str | None = None
    """Why a library that is there can't be used, with what to do; ``None`` where it can, or is not wanted."""


@functools.cache
def kernels() -> Kernels:
    """Those of this process; looked for once."""
    if os.environ.get(SWITCH) == "0":
        return Kernels(None, f"not used: {SWITCH}=0")
    try:
        package: Any = import_module(PACKAGE)
        path = str(package.library())
        library = ctypes.CDLL(path)
        isa, version = _instruction_set(library), library.embedge_arithmetic()
        if version != _ARITHMETIC:
            raise RuntimeError(f"it has version {version} of the arithmetic, and bundles want version {_ARITHMETIC}")
        register(onnxruntime.SessionOptions(), path)
    except ModuleNotFoundError as exc:
        if exc.name == PACKAGE:
            return Kernels(None, "not installed (pip install 'embedge[kernels]')")
        return _broken(exc)
    except Exception as exc:  # whatever a broken file or another version of the package raises
        return _broken(exc)
    if isa == _REFERENCE and not os.environ.get(_ASKED):
        return Kernels(None, f"not used: embedge-kernels {package.__version__} has nothing fast for this CPU")
    return Kernels(path, f"embedge-kernels {package.__version__} ({isa})")


def register(options: onnxruntime.SessionOptions, library: str) -> None:
    """Let sessions that are made with ``options`` use the kernels."""
    with fork.held_off:
        options.register_custom_ops_library(library)


def _instruction_set(library: ctypes.CDLL) -> str:
    asked = library.embedge_isa
    asked.restype = ctypes.c_char_p
    name: bytes = asked()
    return name.decode()


def _broken(error: Exception) -> Kernels:
    reason = " ".join(str(error).split())
    problem = (
        f"embedge-kernels is installed but can't be used, so int8 runs by ONNX Runtime's slower kernels: {reason}; "
        f"install it again, or set {SWITCH}=0"
    )
    return Kernels(None, f"can't be used: {reason}", problem)
