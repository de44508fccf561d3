"""Writes files as ``torch.save`` does, without torch, and those that an attacker would write in their place."""

import io
import struct
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

STORAGES = {"<f4": "Float", "<f2": "Half", "<f8": "Double", "<i8": "Long", "<u2": "BFloat16"}
"""Of numpy's types; bfloat16, which it does not have, is written as uint16."""


@dataclass(frozen=True)
class Call:
    """``function``, a module and a name, called with ``arguments``."""

    function: str
    arguments: tuple[Any, ...]


@dataclass(frozen=True)
class Name:
    """A module and a name."""

    name: str


@dataclass(frozen=True)
class Persistent:
    """What a pickle refers to by ``reference``."""

    reference: Any


def pickled(value: Any) -> bytes:
    """The pickle of a value; protocol 2, as torch's."""
    return b"\x80\x02" + operations(value) + b"."


def operations(value: Any) -> bytes:
    """Those that put a value on the stack."""
    match value:
        case None:
            return b"N"
        case bool():
            return b"\x88" if value else b"\x89"
        case int():
            size = value.bit_length() // 8 + 1
            return b"\x8a" + bytes([size]) + value.to_bytes(size, "little", signed=True)
        case float():
            return b"G" + struct.pack(">d", value)
        case str():
            return b"X" + struct.pack("<I", len(value.encode())) + value.encode()
        case tuple():
            return b"(" + b"".join(map(operations, value)) + b"t"
        case list():
            return b"](" + b"".join(map(operations, value)) + b"e"
        case dict():
            return b"}(" + b"".join(operations(key) + operations(item) for key, item in value.items()) + b"u"
        case Name(name):
            return b"c" + name.replace(" ", "\n").encode() + b"\n"
        case Call(function, arguments):
            return operations(Name(function)) + operations(arguments) + b"R"
        case Persistent(reference):
            return operations(reference) + b"Q"
    raise TypeError(type(value))


def tensor(key: str, array: Any, *, legacy: bool = False, **changes: Any) -> Call:
    """A row-major tensor that is all of the storage ``key``; ``changes`` are of what the file says about it."""
    kind = f"torch {STORAGES[array.dtype.str]}Storage"
    reference = ("storage", Name(kind), key, "cpu", array.size, *([None] if legacy else []))
    view = {
        "storage": Persistent(reference),
        "offset": 0,
        "shape": array.shape,
        "strides": tuple(stride // array.itemsize for stride in np.empty(array.shape, array.dtype).strides),
        "gradient": False,
        "hooks": Call("collections OrderedDict", ()),
        **changes,
    }
    return Call("torch._utils _rebuild_tensor_v2", tuple(view.values()))


def state_dict(arrays: Mapping[str, Any], *, legacy: bool = False) -> bytes:
    """The pickle of a state dict of tensors with a storage each: 0, 1, ..."""
    values = {name: tensor(str(key), arrays[name], legacy=legacy) for key, name in enumerate(arrays)}
    ordered = operations(Call("collections OrderedDict", ())) + operations(values)[1:]
    versions = operations({"_metadata": Call("collections OrderedDict", ())}) + b"b"
    return b"\x80\x02" + ordered + versions + b"."


def write_zip(path: Path, pickle: bytes, storages: Mapping[str, bytes], compression: int = zipfile.ZIP_STORED) -> Path:
    """What torch has written since 1.6."""
    with zipfile.ZipFile(path, "w", compression) as archive:
        archive.writestr("archive/data.pkl", pickle)
        archive.writestr("archive/byteorder", b"little")
        for key, data in storages.items():
            archive.writestr(f"archive/data/{key}", data)
        archive.writestr("archive/version", b"3\n")
    return path


def write_legacy(path: Path, pickle: bytes, storages: Mapping[str, Any]) -> Path:
    """What torch wrote before."""
    file = io.BytesIO()
    for value in (0x1950A86A20F9469CFC6C, 1001, {"protocol_version": 1001, "little_endian": True}):
        file.write(pickled(value))
    file.write(pickle)
    file.write(pickled([*storages]))
    for array in storages.values():
        file.write(struct.pack("<q", array.size) + array.tobytes())
    path.write_bytes(file.getvalue())
    return path


def write(path: Path, arrays: Mapping[str, Any], *, legacy: bool = False) -> Path:
    """A state dict."""
    numbered = {str(key): np.ascontiguousarray(array) for key, array in enumerate(arrays.values())}
    pickle = state_dict(arrays, legacy=legacy)
    if legacy:
        return write_legacy(path, pickle, numbered)
    return write_zip(path, pickle, {key: array.tobytes() for key, array in numbered.items()})
