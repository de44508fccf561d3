"""Embed texts, to a .npy file or as JSON Lines on standard output."""

import argparse
import os
import sys
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from embedge.cli.model import add_model, load, positive
from embedge.errors import InputError

if TYPE_CHECKING:
    import numpy.typing as npt


def add(parser: argparse.ArgumentParser) -> None:
    """Options of ``embedge embed``."""
    source = parser.add_mutually_exclusive_group()
    source.add_argument("texts", metavar="TEXT", nargs="*", default=[], help="default: the lines of standard input")
    source.add_argument("--file", type=Path, metavar="FILE", help="embed the lines of FILE")
    parser.add_argument("--out", type=Path, metavar="FILE.npy", help="write one array instead of JSON Lines")
    parser.add_argument("--prompt", metavar="TEXT", help="put in front of each text; default: the document prompt")
    parser.add_argument("--query", action="store_true", help="use the model's query prompt")
    parser.add_argument("--dimensions", type=positive, metavar="N", help="keep the first N")
    parser.add_argument("--dtype", default="float32", metavar="NAME", help="float32, float16, int8 or binary")
    parser.add_argument(
        "--on-overflow", choices=("truncate", "error"), default="truncate", help="texts that are too long"
    )
    add_model(parser)


def run(options: argparse.Namespace) -> int:
    """Run ``embedge embed``."""
    if options.out and options.out.suffix != ".npy":
        raise InputError(f"--out {options.out}: the file must end in .npy")
    with load(options) as model:
        prompt = model.manifest.prompts.query if options.query else options.prompt
        texts = list(options.texts) if options.texts else _lines(options.file)
        vectors = model.embed_iter(
            texts, prompt=prompt, dimensions=options.dimensions, dtype=options.dtype, on_overflow=options.on_overflow
        )
        if options.out:
            _save(options.out, vectors, len(texts) if isinstance(texts, list) else None)
        else:
            _print(vectors)
    return 0


def _lines(file: Path | None) -> Iterator[str]:
    """The lines of ``file`` or of standard input, as they come."""
    name = str(file or "standard input")
    with file.open("rb") if file else os.fdopen(sys.stdin.fileno(), "rb", closefd=False) as source:
        for number, line in enumerate(source, 1):
            try:
                yield line.decode().rstrip("\r\n")
            except UnicodeDecodeError as exc:
                raise InputError(f"{name}, line {number}: not UTF-8 ({exc.reason} at byte {exc.start})") from exc


def _print(vectors: Iterable["npt.NDArray[Any]"]) -> None:
    for index, vector in enumerate(vectors):
        numbers = ",".join(f"{x:.9g}" for x in vector.tolist())
        print(f'{{"index":{index},"embedding":[{numbers}]}}')


def _save(out: Path, vectors: Iterable["npt.NDArray[Any]"], total: int | None) -> None:
    """Write all vectors as one array, whole or not at all."""
    import numpy as np

    from embedge.progress import Progress

    rows: list[npt.NDArray[np.generic]] = []
    with Progress(total, shown=sys.stderr.isatty()) as line:
        for row in vectors:
            rows.append(row)
            if len(rows) % 64 == 0:
                line.advance(64)
    descriptor, temporary = tempfile.mkstemp(prefix=f".{out.name}.", suffix=".partial", dir=out.parent)
    try:
        with os.fdopen(descriptor, "wb") as file:
            np.save(file, np.array(rows))
        Path(temporary).chmod(0o644)
        Path(temporary).replace(out)
    finally:
        Path(temporary).unlink(missing_ok=True)
