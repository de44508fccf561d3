"""Tensors as they lie in a file of weights, and the header of ``.safetensors`` files, which says where."""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from embedge.errors import CheckpointError
from embedge_export.checkpoint.files import check_fetched
from embedge_export.encoder import FloatArray

ITEM_SIZES = {
    "bool": 1,
    "int8": 1,
    "uint8": 1,
    "int16": 2,
    "int32": 4,
    "int64": 8,
    "float16": 2,
    "bfloat16": 2,
    "float32": 4,
    "float64": 8,
}
"""Bytes of one number by its type, whose name is that of torch."""

# bfloat16 is the upper half of a float32; numpy has no name for it.
_READ_AS = {"float16": "<f2", "bfloat16": "<u2", "float32": "<f4", "float64": "<f8"}
_SAFETENSORS_TYPES = {
    "BOOL": "bool",
    "I8": "int8",
    "U8": "uint8",
    "I16": "int16",
    "I32": "int32",
    "I64": "int64",
    "F16": "float16",
    "BF16": "bfloat16",
    "F32": "float32",
    "F64": "float64",
}
# Some 100 bytes a tensor; a larger header is no encoder's.
_LARGEST_HEADER = 2**24
_MOST_DIMENSIONS = 8


@dataclass(frozen=True)
class StoredTensor:
    """A tensor that :meth:`read` takes from its file. ``offset`` and ``strides`` count numbers, the rest bytes."""

    path: Path
    name: str
    dtype: str
    """As in :data:`ITEM_SIZES`, or one that is not supported."""
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    offset: int
    """The tensor's first number in its storage, which other tensors may share."""
    start: int
    """The storage's first byte in the file."""
    size: int
    """Bytes of the storage."""

    def read(self) -> FloatArray:
        """Its numbers as float32, contiguous; nothing else of the file is read. Shape: :attr:`shape`.

        Raises:
            CheckpointError: they are no floating-point numbers, lie outside the storage, or can't be read.
        """
        if self.dtype not in _READ_AS:
            raise CheckpointError(
                f"{self.path}: tensor {self.name} is of type {self.dtype}; "
                f"supported are {', '.join(_READ_AS)}: save the model in one of them"
            )
        item = ITEM_SIZES[self.dtype]
        span = sum((length - 1) * stride for length, stride in zip(self.shape, self.strides, strict=True)) + 1
        # Numbers that are used more than once (a stride of 0) could make a small file fill the memory.
        needed = max(self.offset + span, math.prod(self.shape)) * item
        if min(self.shape, default=1) < 1 or min(self.offset, *self.strides, 0) < 0 or needed > self.size:
            raise CheckpointError(
                f"{self.path}: tensor {self.name} lies outside its storage of {self.size} bytes; the file is damaged"
            )
        try:
            with self.path.open("rb") as file:
                file.seek(self.start + self.offset * item)
                numbers = np.fromfile(file, _READ_AS[self.dtype], span)
            if len(numbers) < span:
                raise ValueError(f"it ends within tensor {self.name}")
            strides = [stride * item for stride in self.strides]
            tensor = np.ndarray(self.shape, numbers.dtype, numbers, strides=strides)  # checks them once more
        except (OSError, ValueError) as exc:
            raise CheckpointError(f"{self.path} can't be read, fetch it again: {exc}") from exc
        if self.dtype == "bfloat16":
            tensor = np.left_shift(tensor, 16, dtype=np.uint32, order="C").view(np.float32)
        with np.errstate(over="ignore"):  # infinity, which is refused where the tensor is used
            return np.asarray(tensor, np.float32, order="C")


def read_safetensors(path: Path) -> dict[str, StoredTensor]:
    """The tensors of a ``.safetensors`` file by their names; only the header is read.

    The format: the header's length as 8 bytes, the header as JSON, the numbers row by row.

    Raises:
        CheckpointError: the file can't be read, or is damaged.
    """
    check_fetched(path)
    try:
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            if length > _LARGEST_HEADER:
                raise ValueError("its header is too large")
            header = json.loads(file.read(length))
        start, end = 8 + length, path.stat().st_size
        if not isinstance(header, dict):
            raise TypeError("its header is not an object")
        header.pop("__metadata__", None)
        tensors = {name: _tensor(path, name, fields, start) for name, fields in header.items()}
    except (OSError, ValueError, TypeError, KeyError, RecursionError) as exc:
        raise CheckpointError(f"{path} can't be read as safetensors, fetch it again: {exc}") from exc
    last = max((tensor.start + tensor.size for tensor in tensors.values()), default=start)
    if last != end:
        raise CheckpointError(f"{path} has {end} bytes, its header says {last}: it is cut off or damaged")
    return tensors


def row_major(shape: tuple[int, ...]) -> tuple[int, ...]:
    """The strides, in numbers, of a tensor whose rows follow each other."""
    return tuple(math.prod(shape[axis + 1 :]) for axis in range(len(shape)))


def are_counts(values: object) -> bool:
    """Whether these are a sequence of whole numbers, none of them negative."""
    return isinstance(values, list | tuple) and all(type(value) is int and value >= 0 for value in values)


def _tensor(path: Path, name: str, fields: Mapping[str, Any], start: int) -> StoredTensor:
    if len(fields["shape"]) > _MOST_DIMENSIONS:
        raise ValueError(f"tensor {name} has {len(fields['shape'])} dimensions")
    shape, (first, last) = tuple(fields["shape"]), fields["data_offsets"]
    dtype = _SAFETENSORS_TYPES.get(fields["dtype"], str(fields["dtype"]))
    if not are_counts((*shape, first, last)):
        raise ValueError(f"tensor {name} has a shape or place that is not one")
    if last - first != math.prod(shape) * ITEM_SIZES.get(dtype, 0) and dtype in ITEM_SIZES:
        raise ValueError(f"tensor {name} has {last - first} bytes, which its shape {shape} and type do not give")
    return StoredTensor(path, name, dtype, shape, row_major(shape), 0, start + first, last - first)
