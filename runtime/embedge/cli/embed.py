"""Embed texts, to a .npy file or as JSON Lines on standard output."""

import argparse
import contextlib
import os
import re
import sys
import warnings
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from embedge.atomic import replace_file
from embedge.cli.options import add_model, load, positive
from embedge.cli.reading import batches, open_input
from embedge.errors import EmbedgeError, InputError

if TYPE_CHECKING:
    import numpy.typing as npt

    from embedge.embedder import Embedder

EXAMPLE = "embedge embed --file texts.txt --out vectors.npy"


def add(parser: argparse.ArgumentParser) -> None:
    """Options of ``embedge embed``."""
    source = parser.add_mutually_exclusive_group()
    source.add_argument("texts", metavar="TEXT", nargs="*", default=[], help="default: the lines of standard input")
    source.add_argument("--file", type=Path, metavar="FILE", help="embed the lines of FILE, in UTF-8")
    parser.add_argument("--out", type=Path, metavar="FILE.npy", help="write one array instead of JSON Lines")
    prompt = parser.add_mutually_exclusive_group()
    prompt.add_argument("--prompt", metavar="TEXT", help="put in front of each text; default: the document prompt")
    prompt.add_argument("--query", action="store_true", help="put the model's query prompt in front of each text")
    parser.add_argument("--dimensions", type=positive, metavar="N", help="keep the first N; default: all")
    parser.add_argument(
        "--dtype",
        choices=("float32", "float16", "int8", "binary"),
        default="float32",
        help="type of the numbers; default: float32",
    )
    parser.add_argument(
        "--on-overflow",
        choices=("truncate", "error"),
        default="truncate",
        help="what to do with a text that is longer than the model takes; default: truncate, with a warning",
    )
    add_model(parser)


def run(options: argparse.Namespace) -> int:
    """Run ``embedge embed``."""
    if options.out:
        _check_out(options.out)
    form = {"dimensions": options.dimensions, "dtype": options.dtype, "on_overflow": options.on_overflow}
    with contextlib.ExitStack() as stack:
        if options.texts:
            name, texts = "", iter([options.texts])
        else:
            name = str(options.file or "standard input")
            texts = batches(stack.enter_context(open_input(options.file)), name)
        model = stack.enter_context(load(options))
        form["prompt"] = model.manifest.prompt("query") if options.query else options.prompt
        if options.out:
            everything = [text for batch in texts for text in batch]
            _save(options.out, _embed(model, everything, name, first=1, progress=True, form=form))
        else:
            with _one_warning():
                _print(model, texts, name, form)
    return 0


def _check_out(out: Path) -> None:
    """Find out before the work whether its result can be kept."""
    if out.suffix != ".npy":
        raise InputError(f"--out {out}: the file must end in .npy")
    if out.is_dir():
        raise InputError(f"--out {out} is a directory")
    if not out.parent.is_dir():
        raise InputError(f"--out {out}: there is no directory {out.parent}")
    if not os.access(out.parent, os.W_OK | os.X_OK):
        raise InputError(f"--out {out}: the directory {out.parent} can't be written to")


def _embed(
    model: "Embedder", texts: list[str], name: str, *, first: int, progress: bool, form: dict[str, Any]
) -> "npt.NDArray[Any]":
    """The vectors of ``texts``; where they are lines of ``name``, from number ``first``, errors say which."""
    try:
        return model.embed(texts, progress=progress, **form)
    except InputError as exc:
        message = str(exc).replace("pass on_overflow='truncate'", "take --on-overflow truncate")
        if name:
            message = re.sub(r"^texts\[(\d+)\]", lambda match: f"{name}, line {first + int(match[1])}", message)
        raise InputError(message) from exc


def _print(model: "Embedder", texts: Iterable[list[str]], name: str, form: dict[str, Any]) -> None:
    done = 0
    for batch in texts:
        for index, vector in enumerate(_embed(model, batch, name, first=done + 1, progress=False, form=form), done):
            numbers = ",".join(f"{x:.9g}" for x in vector.tolist())
            print(f'{{"index":{index},"embedding":[{numbers}]}}')
        done += len(batch)
        sys.stdout.flush()  # whoever has written these lines may wait for the answer before the next


@contextlib.contextmanager
def _one_warning() -> Iterator[None]:
    """The warnings about texts that were truncated, of all batches in one."""
    caught: list[warnings.WarningMessage] = []
    try:
        with warnings.catch_warnings(record=True) as caught:
            yield
    finally:
        _warn_once(caught)


def _warn_once(caught: list[warnings.WarningMessage]) -> None:
    counts = re.compile(r"(\d+) texts? (?:was|were) (?=truncated)")
    messages = [str(warning.message) for warning in caught]
    truncated = sum(int(match[1]) for message in messages if (match := counts.match(message)))
    texts = "1 text was" if truncated == 1 else f"{truncated} texts were"
    for message in dict.fromkeys(counts.sub(f"{texts} ", message) for message in messages):
        warnings.warn(message, stacklevel=2)


def _save(out: Path, vectors: "npt.NDArray[Any]") -> None:
    """Write the array, whole or not at all."""
    import numpy as np

    try:
        with replace_file(out) as partial, partial.open("xb") as file:
            np.save(file, vectors)
    except OSError as exc:
        raise EmbedgeError(f"{out} can't be written: {exc.strerror or f'is the disk full? ({exc})'}") from exc
