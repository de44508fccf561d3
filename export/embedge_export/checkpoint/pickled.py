"""``pytorch_model.bin`` without torch: where its tensors lie.

``torch.save`` writes a zip archive, whose ``data.pkl`` describes the tensors and whose ``data/0``, ``data/1``, ... are
their storages. Before torch 1.6 it wrote pickles, one after the other, and the storages behind them.
"""

import io
import struct
import zipfile
from pathlib import Path
from typing import BinaryIO

from embedge.errors import CheckpointError
from embedge_export.checkpoint import state_dict
from embedge_export.checkpoint.files import check_fetched
from embedge_export.checkpoint.state_dict import Tensor
from embedge_export.checkpoint.stored import ITEM_SIZES, StoredTensor

# Some 200 bytes a tensor. Each byte of a pickle can fill about a hundred of memory.
_LARGEST_PICKLE = 2**20
# What a file from before torch 1.6 begins with.
_MAGIC, _VERSION = 0x1950A86A20F9469CFC6C, 1001

# Start and size of a stretch of the file, in bytes.
_Place = tuple[int, int]


def read_pickled(path: Path) -> dict[str, StoredTensor]:
    """The tensors of a state dict that ``torch.save`` wrote, by their names; no storage is read.

    Raises:
        CheckpointError: the file can't be read, is damaged, or holds anything but a state dict.
    """
    check_fetched(path)
    try:
        with path.open("rb") as file:
            tensors, places = (_read_zip if _read(file, (0, 4)) == b"PK\3\4" else _read_legacy)(file)
        return {name: _stored(path, name, tensor, places) for name, tensor in tensors.items()}
    except (OSError, ValueError, zipfile.BadZipFile, NotImplementedError) as exc:
        raise CheckpointError(f"{path} can't be read as PyTorch weights: {exc}") from exc


def _stored(path: Path, name: str, tensor: Tensor, places: dict[str, _Place]) -> StoredTensor:
    storage = tensor.storage
    start, size = places.get(storage.key, (0, -1))
    if size != storage.size:
        raise ValueError(f"storage {storage.key!a} of tensor {name} is missing or has another size")
    return StoredTensor(path, name, storage.dtype, tensor.shape, tensor.strides, tensor.offset, start, size)


def _read_zip(file: BinaryIO) -> tuple[dict[str, Tensor], dict[str, _Place]]:
    """The tensors, and the places of the storages by their keys."""
    with zipfile.ZipFile(file) as archive:
        entries = archive.infolist()
    places = {entry.filename: _place(file, entry) for entry in entries}
    pickles = [name for name in places if name.endswith("/data.pkl")]
    if len(pickles) != 1 or len(places) != len(entries):
        raise ValueError("it is not an archive of one state dict")
    folder = pickles[0].removesuffix("data.pkl")
    if _read(file, places.get(f"{folder}byteorder", (0, 0))) == b"big":
        raise ValueError("its numbers are big-endian: save it again on a little-endian machine")
    tensors = state_dict.tensors(io.BytesIO(_read(file, places[pickles[0]])))
    return tensors, {name.removeprefix(f"{folder}data/"): place for name, place in places.items()}


def _place(file: BinaryIO, entry: zipfile.ZipInfo) -> _Place:
    stored = entry.compress_type == zipfile.ZIP_STORED and entry.file_size == entry.compress_size
    if not stored or entry.flag_bits & 1:
        raise ValueError(f"its entry {entry.filename!a} is compressed or encrypted, which torch.save never does")
    header = _read(file, (entry.header_offset, 30))
    # Here names and extra fields may have other lengths than in the archive's directory.
    signature, name, extra = struct.unpack("<4s22xHH", header.ljust(30))
    start = entry.header_offset + 30 + name + extra
    if signature != b"PK\3\4" or start + entry.file_size > file.seek(0, io.SEEK_END):
        raise ValueError(f"its entry {entry.filename!a} is cut off or damaged")
    return start, entry.file_size


def _read_legacy(file: BinaryIO) -> tuple[dict[str, Tensor], dict[str, _Place]]:
    """As :func:`_read_zip`, of a file from before torch 1.6."""
    end = file.seek(0, io.SEEK_END)
    head = io.BytesIO(_read(file, (0, min(end, _LARGEST_PICKLE))))
    if state_dict.run(head) != _MAGIC or state_dict.run(head) != _VERSION:
        raise ValueError("torch.save did not write it")
    state_dict.run(head)  # the sizes of C's types where it was written
    tensors = state_dict.tensors(head)
    keys = state_dict.run(head)
    storages = {tensor.storage.key: tensor.storage for tensor in tensors.values()}
    places: dict[str, _Place] = {}
    start = head.tell()
    for key in keys if isinstance(keys, list) else []:
        if key not in storages:
            raise ValueError(f"its storage {key!a} belongs to no tensor")
        # Its length, in numbers, stands before each.
        size = int.from_bytes(_read(file, (start, 8)), "little") * ITEM_SIZES[storages[key].dtype]
        places[key] = start + 8, size
        start += 8 + size
    if start > end:
        raise ValueError("it is cut off")
    return tensors, places


def _read(file: BinaryIO, place: _Place) -> bytes:
    start, size = place
    if size > _LARGEST_PICKLE:
        raise ValueError(f"it has a pickle of {size} bytes, which is no state dict's")
    file.seek(start)
    return file.read(size)
