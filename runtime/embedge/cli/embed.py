"""Embed texts, to a .npy file or as JSON Lines on standard output."""

import argparse
import os
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from embedge.atomic import replace_file
from embedge.cli.options import add_model, load, positive
from embedge.errors import EmbedgeError, InputError

if TYPE_CHECKING:
    import numpy.typing as npt


def add(parser: argparse.ArgumentParser) -> None:
    """Options of ``embedge embed``."""
    source = parser.add_mutually_exclusive_group()
    source.add_argument("texts", metavar="TEXT", nargs="*", default=[], help="default: the lines of standard input")
    source.add_argument("--file", type=Path, metavar="FILE", help="embed the lines of FILE")
    parser.add_argument("--out", type=Path, metavar="FILE.npy", help="write one array instead of JSON Lines")
    prompt = parser.add_mutually_exclusive_group()
    prompt.add_argument("--prompt", metavar="TEXT", help="put in front of each text; default: the document prompt")
    prompt.add_argument("--query", action="store_true", help="put the model's query prompt in front of each text")
    parser.add_argument("--dimensions", type=positive, metavar="N", help="keep the first N")
    parser.add_argument("--dtype", choices=("float32", "float16", "int8", "binary"), default="float32")
    parser.add_argument(
        "--on-overflow", choices=("truncate", "error"), default="truncate", help="texts that are too long"
    )
    add_model(parser)


def run(options: argparse.Namespace) -> int:
    """Run ``embedge embed``."""
    if options.out:
        _check_out(options.out)
    with load(options) as model:
        prompt = model.manifest.prompt("query") if options.query else options.prompt
        texts = options.texts or _lines(options.file)
        form = {"dimensions": options.dimensions, "dtype": options.dtype, "on_overflow": options.on_overflow}
        if options.out:
            _save(
                options.out,
                model.embed(list(texts), prompt=prompt, progress=bool(sys.stderr and sys.stderr.isatty()), **form),
            )
        else:
            _print(model.embed_iter(texts, prompt=prompt, **form))
    return 0


def _check_out(out: Path) -> None:
    """Find out before the work whether its result can be kept."""
    if out.suffix != ".npy":
        raise InputError(f"--out {out}: the file must end in .npy")
    if out.is_dir():
        raise InputError(f"--out {out} is a directory")
    if not out.parent.is_dir():
        raise InputError(f"--out {out}: there is no directory {out.parent}")


def _lines(file: Path | None) -> Iterator[str]:
    """The lines of ``file`` or of standard input, as they come."""
    name = str(file or "standard input")
    if file is None and sys.stdin is None:
        raise InputError("standard input is closed; give texts as arguments, or --file")
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


def _save(out: Path, vectors: "npt.NDArray[Any]") -> None:
    """Write the array, whole or not at all."""
    import numpy as np

    try:
        with replace_file(out) as partial, partial.open("xb") as file:
            np.save(file, vectors)
    except OSError as exc:
        raise EmbedgeError(f"{out} can't be written: {exc.strerror or f'is the disk full? ({exc})'}") from exc
