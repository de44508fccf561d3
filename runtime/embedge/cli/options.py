"""Which bundle a command runs on, and the options that several commands share."""

import argparse
import os
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from embedge import store
from embedge.errors import BundleError, ProviderError
from embedge.manifest import MANIFEST

if TYPE_CHECKING:
    from embedge.embedder import Embedder
    from embedge.loaded import LoadedModel
    from embedge.manifest import Manifest
    from embedge.reranker import Reranker

_Model = TypeVar("_Model", bound="LoadedModel")

_HELP = (
    "a bundle's directory, or its name in the store (see `embedge list`); "
    "default: $EMBEDGE_MODEL, else the only bundle under ./models, else the only one in the store"
)


def add_bundle(parser: argparse.ArgumentParser) -> None:
    """The bundle as an argument, for commands about a bundle; ``--model`` means the same, as everywhere."""
    bundle = parser.add_mutually_exclusive_group()
    bundle.add_argument("bundle", metavar="BUNDLE", nargs="?", help=_HELP)
    bundle.add_argument("--model", metavar="BUNDLE", help="the same")


def add_model(parser: argparse.ArgumentParser) -> None:
    """The bundle and how to run it as options, for commands about texts."""
    parser.add_argument("--model", metavar="BUNDLE", help=_HELP)
    parser.add_argument(
        "--variant", default="auto", metavar="NAME", help="int8, fp32 or fp16; default: auto, the best for the provider"
    )
    add_provider(parser)
    parser.add_argument(
        "--threads",
        type=positive,
        metavar="N",
        help="threads to run on; default: one for each CPU that this process may use",
    )
    add_low_memory(parser)


def add_provider(parser: argparse._ActionsContainer) -> None:
    """Where to run, as an option."""
    parser.add_argument(
        "--provider",
        action="append",
        metavar="NAME",
        help="where to run: cpu, cuda or another of ONNX Runtime's; repeat it for a fallback; default: cpu",
    )


def add_low_memory(parser: argparse._ActionsContainer) -> None:
    """Less memory, as an option."""
    parser.add_argument(
        "--low-memory",
        action="store_true",
        help="need less memory, and more time: one thread, unless --threads says otherwise, and no weights kept twice",
    )


def find_bundle(asked: str | None, task: str | None = None) -> Path:
    """The bundle asked for, or the default one: the only one, or the only one made for ``task``.

    Raises:
        BundleError: there is none, or more than one.
    """
    asked = asked or os.environ.get("EMBEDGE_MODEL")
    if asked:
        return store.find(asked)
    here = {path.parent.name: path.parent for path in sorted(Path("models").glob(f"*/{MANIFEST}"))}
    found = here or {name: store.home() / name for name in store.names()}
    if task and len(found) > 1:
        found = {name: path for name, path in found.items() if _is_for(path, task)}
    if not found:
        raise BundleError(
            f"no bundle under ./models and none in {store.home()}: choose one with --model or EMBEDGE_MODEL, or make "
            "one with `embedge export BAAI/bge-small-en`"
        )
    if len(found) > 1:
        where = "./models" if here else store.home()
        raise BundleError(
            f"{len(found)} bundles under {where} ({', '.join(found)}): choose one with --model or EMBEDGE_MODEL"
        )
    return next(iter(found.values()))


def _is_for(path: Path, task: str) -> bool:
    from embedge.bundle import Bundle

    try:
        return Bundle.open(path).manifest.task == task
    except BundleError:
        return True  # to be named when it is loaded


def load(options: argparse.Namespace) -> "Embedder":
    """The embedder for a command that has the options of :func:`add_model`."""
    from embedge.embedder import Embedder

    path = find_bundle(options.model, "embed")
    return load_as(Embedder, path, options)


def load_reranker(options: argparse.Namespace, asked: str | None) -> "Reranker":
    """The reranker ``asked`` for, or the default one, for a command that has the options of :func:`add_model`."""
    from embedge.reranker import Reranker

    path = find_bundle(asked, "rerank")
    return load_as(Reranker, path, options)


def load_as(kind: type[_Model], path: Path, options: argparse.Namespace) -> _Model:
    """The bundle at ``path`` as a ``kind``, in the way that the options of a command ask for."""
    return kind.load(
        path,
        variant=options.variant,
        threads=options.threads,
        providers=options.provider,
        low_memory=options.low_memory,
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
    from embedge.engine.native import kernels

    try:
        choice = choose(manifest.variants, "auto", provider, capabilities())
    except ProviderError as exc:
        return f"none: {exc}"
    if "kernels" in choice.graph.needs:
        return f"{choice.variant}, by {kernels().description}"
    return f"{choice.variant}, its weights taken as unsigned" if choice.graph.unsigned else choice.variant
