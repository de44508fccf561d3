"""Writes ``model.safetensors`` with numbers of any type, which numpy may not have."""

import json
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np


def write_safetensors(path: Path, kind: str, arrays: Mapping[str, Any]) -> None:
    """``arrays`` hold the bits of numbers of this type, which numpy may not have."""
    header, end = {}, 0
    for name, array in arrays.items():
        header[name] = {"dtype": kind, "shape": array.shape, "data_offsets": [end, end + array.nbytes]}
        end += array.nbytes
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + b"".join(array.tobytes() for array in arrays.values()))


def upper_halves(arrays: Mapping[str, Any]) -> dict[str, Any]:
    """The bfloat16 numbers that these are rounded down to."""
    return {name: (array.view(np.uint32) >> 16).astype(np.uint16) for name, array in arrays.items()}
