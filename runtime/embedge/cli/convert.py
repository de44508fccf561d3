"""Make one file of a bundle, for phones and other languages: texts go in, vectors come out.

Needs the extra ``embedge[export]``; the work is in ``embedge_export``.
"""

import argparse

from embedge.cli.checkpoint import load_export
from embedge.cli.options import find_bundle

EXAMPLE = "embedge convert BAAI/bge-small-en model.onnx"


def add(parser: argparse.ArgumentParser) -> None:
    """Options of ``embedge convert``."""
    parser.add_argument("bundle", metavar="BUNDLE", help="a bundle's directory, or its name in the store")
    parser.add_argument(
        "out",
        metavar="OUT",
        help="the file to write: .onnx, or .ort for ONNX Runtime's own format, beside a list of its operators",
    )
    parser.add_argument("--force", action="store_true", help="replace files that are there")


def run(options: argparse.Namespace) -> int:
    """Run ``embedge convert``."""
    model, *others = load_export().convert(find_bundle(options.bundle), options.out, force=options.force)
    print(f"{model}: {model.stat().st_size / 1e6:.1f} MB")
    for path in others:
        print(f"{path}: its operators")
    return 0
