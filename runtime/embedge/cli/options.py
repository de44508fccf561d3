"""Which bundle a command runs on, and the options that several commands share."""

import argparse
import os
from pathlib import Path
from typing import TYPE_CHECKING

from embedge.errors import BundleError, ProviderError

if TYPE_CHECKING:
    from embedge.embedder import Embedder
    from embedge.manifest import Manifest

_HELP = "a bundle; default: $EMBEDGE_MODEL, else the only bundle under ./models"


def add_bundle(parser: argparse.ArgumentParser) -> None:
    """The bundle as an argument, for commands about a bundle."""
    parser.add_argument("model", metavar="BUNDLE", nargs="?", help=_HELP)


def add_model(parser: argparse.ArgumentParser) -> None:
    """The bundle and how to run it as options, for commands about texts."""
    parser.add_argument("--model", metavar="BUNDLE", help=_HELP)
    parser.add_argument("--variant", default="auto", metavar="NAME", help="int8, fp32 or fp16; default: auto")
    add_provider(parser)
    parser.add_argument("--threads", type=positive, metavar="N", help="default: all CPUs this process may use")


def add_provider(parser: argparse.ArgumentParser) -> None:
    """Where to run, as an option."""
    parser.add_argument(
        "--provider",
        action="append",
        metavar="NAME",
        help="where to run: cpu, cuda or another of ONNX Runtime's; again for what that leaves; default: cpu",
    )


def find_bundle(asked: str | None) -> Path:
    """The bundle asked for, or the default one; ``BundleError`` when there is none, or more than one."""
    asked = asked or os.environ.get("EMBEDGE_MODEL")
    if asked:
        return Path(asked)
    found = sorted(path.parent for path in Path("models").glob("*/manifest.json"))
    if len(found) != 1:
        have = f"{len(found)} bundles ({', '.join(path.name for path in found)})" if found else "no bundle"
        raise BundleError(f"there is {have} under ./models: say which with --model, or set EMBEDGE_MODEL")
    return found[0]


def load(options: argparse.Namespace) -> "Embedder":
    """The embedder for a command that has the options of :func:`add_model`."""
    from embedge.embedder import Embedder

    return Embedder.load(
        find_bundle(options.model), variant=options.variant, threads=options.threads, providers=options.provider
    )


def positive(text: str) -> int:
    """An option's value that counts something, for ``argparse``."""
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{number} is less than 1")
    return number


def variant_here(manifest: "Manifest", provider: str) -> str:
    """The variant that this machine would run on ``provider``, in ONNX Runtime's name, and how; or why it has none."""
    from embedge.engine.capabilities import capabilities
    from embedge.engine.choose import choose

    try:
        choice = choose(manifest.variants, "auto", provider, capabilities())
    except ProviderError as exc:
        return f"none: {exc}"
    return f"{choice.variant}, its weights taken as unsigned" if choice.graph.unsigned else choice.variant
