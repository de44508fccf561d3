"""Ways to damage a bundle, and to seal it anew so that only one change is wrong."""

import hashlib
import json
import os
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from embedge import Embedder

FILES = [
    "manifest.json",
    "tokenizer.json",
    "model.int8.onnx",
    "model.int8.bin",
    "model.int8-unsigned.onnx",
    "model.fp32.onnx",
    "model.fp32.bin",
]
SEALED = FILES[1:]
OF_INT8 = FILES[1:5]


def flip(path: Path, place: int, bit: int) -> None:
    """Flip one bit where it lies, and set the time of change back; a second call undoes it."""
    before = path.stat()
    with path.open("r+b") as file:
        file.seek(place)
        byte = file.read(1)[0]
        file.seek(place)
        file.write(bytes([byte ^ (1 << bit)]))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def places(size: int, count: int, seed: int = 0) -> list[tuple[int, int]]:
    """``(byte, bit)`` to flip: the first byte, the last one and ``count`` anywhere."""
    draw = random.Random(seed)
    anywhere = [(draw.randrange(size), draw.randrange(8)) for _ in range(count)]
    return [(0, draw.randrange(8)), (size - 1, draw.randrange(8)), *anywhere]


def reseal(directory: Path, change: Callable[[dict[str, Any]], None], *, hashes: bool = False) -> None:
    """Change the fields of the manifest and seal it again, so that only the change is wrong."""
    fields = json.loads((directory / "manifest.json").read_bytes())
    if hashes:
        for name, sealed in fields["files"].items():
            data = (directory / name).read_bytes()
            sealed.update(bytes=len(data), sha256=hashlib.sha256(data).hexdigest())
    change(fields)
    (directory / "manifest.json").write_bytes(sealed_bytes(fields))


def sealed_bytes(fields: dict[str, Any]) -> bytes:
    zeros = "0" * 64
    raw = json.dumps({**fields, "seal": zeros}, indent=1).encode()
    return raw.replace(f'"seal": "{zeros}"'.encode(), f'"seal": "{hashlib.sha256(raw).hexdigest()}"'.encode())


def assert_same_vectors(one: Path, other: Path) -> None:
    with Embedder.load(one) as a, Embedder.load(other) as b:
        assert np.array_equal(a.embed(["a boat", ""]), b.embed(["a boat", ""]))
