"""What the commands about checkpoints share: their options, and the half of the package that they need."""

import argparse
from types import ModuleType

from embedge.cli.options import positive
from embedge.errors import ExportError

_POOLINGS = ("cls", "mean", "max", "mean_sqrt_len_tokens", "weightedmean", "lasttoken")
_MODULES = ("onnx", "huggingface_hub")


def add_checkpoint(parser: argparse.ArgumentParser) -> None:
    """The checkpoint as an argument, and what may be said in its place."""
    parser.add_argument(
        "source",
        metavar="SOURCE",
        help="a checkpoint's directory, or a hub id like BAAI/bge-small-en, with @REVISION for another than the newest",
    )
    parser.add_argument("--max-tokens", type=positive, metavar="N", help="the longest input; default: the checkpoint's")
    parser.add_argument(
        "--pooling",
        choices=_POOLINGS,
        metavar="NAME",
        help=f"how token vectors become one: {', '.join(_POOLINGS)}; default: the checkpoint's",
    )
    parser.add_argument("--query-prompt", metavar="TEXT", help="put in front of queries; default: the model's")
    parser.add_argument("--document-prompt", metavar="TEXT", help="put in front of documents; default: the model's")


def load_export() -> ModuleType:
    """The package ``embedge_export``; raises ``ExportError`` where what it needs is not installed."""
    try:
        import embedge_export
    except ModuleNotFoundError as exc:
        if exc.name not in _MODULES:
            raise
        raise ExportError(f"this command needs {exc.name}: pip install 'embedge[export]'") from exc
    return embedge_export
