"""int8 weights as unsigned numbers, for CPUs whose kernels saturate on signed ones.

A signed code plus 128, with a zero point of 128, is the same number. The kernels that multiply two unsigned 8-bit
numbers are exact everywhere, so the vectors have the bits that they have on a CPU with VNNI. ONNX Runtime does the same
at load with ``session.x64quantprecision`` (pull request 12088), in 100 ms more for each session and at another level
of optimization. Measured with bge-small's architecture (21 MB of codes) on a Zen 3 with AVX2: 16 to 17 ms, and one copy
in memory whatever the number of sessions and embedders.
"""

import weakref
from collections.abc import Mapping
from io import FileIO
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from embedge.engine import fork
from embedge.engine.ort import onnxruntime
from embedge.errors import BundleError
from embedge.manifest import Tensor
from embedge.stamps import stamp

# Read and turned while it lies in the cache.
_BLOCK = 1 << 18

# Weights in use, so that they are turned once in a process.
_in_use: "weakref.WeakValueDictionary[tuple[Any, ...], Unsigned]" = weakref.WeakValueDictionary()


class Unsigned:
    """The codes of a weights file plus 128; must outlive the sessions that it is given to, which do not copy it."""

    def __init__(self, path: Path, codes: Mapping[str, Tensor]) -> None:
        """Read the tensors ``codes`` of the file ``path``."""
        with path.open("rb", buffering=0) as file:
            self._arrays = {name: _read(file, tensor) for name, tensor in codes.items()}
        self.values = {name: onnxruntime.OrtValue.ortvalue_from_numpy(a) for name, a in self._arrays.items()}
        """By the names that the graph has for them; they share the arrays' memory."""

    @classmethod
    def load(cls, path: Path, codes: Mapping[str, Tensor]) -> "Unsigned":
        """Those of ``path``, from another embedder of this process where there is one."""
        key = (path.stat().st_dev, *stamp(path), *codes.items())
        with fork.held_off:  # for others that load it at the same moment; a forked child never finds this lock held
            return _in_use.get(key) or _in_use.setdefault(key, cls(path, codes))


def _read(file: FileIO, tensor: Tensor) -> npt.NDArray[np.uint8]:
    array = np.empty(tensor.shape, np.uint8)
    flat = array.reshape(-1)
    file.seek(tensor.offset)
    for start in range(0, flat.size, _BLOCK):
        block = flat[start : start + _BLOCK]
        if file.readinto(block.data) != block.size:
            raise BundleError(f"{file.name} is shorter than its manifest says; copy the bundle again")
        np.bitwise_xor(block, 128, out=block)
    return array
