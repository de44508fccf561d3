"""Make a bundle from an embedding checkpoint.

Needs the extra ``embedge[export]``, for some checkpoints ``embedge[optimum]``; the work is in ``embedge_export``.
"""

import argparse
import sys
import time

from embedge.cli.checkpoint import add_checkpoint, load_export

EXAMPLE = "embedge export BAAI/bge-small-en"


def add(parser: argparse.ArgumentParser) -> None:
    """Options of ``embedge export``."""
    add_checkpoint(parser)
    parser.add_argument(
        "out",
        metavar="OUT",
        nargs="?",
        help="the directory to write; default: the store, where a hub id's bundle is found by that id",
    )
    parser.add_argument(
        "--precision",
        default="int8",
        metavar="NAMES",
        help="int8, fp32, fp16 (for CUDA) or several, as in int8,fp32; default: int8",
    )
    parser.add_argument(
        "--via",
        choices=("auto", "optimum"),
        default="auto",
        help="optimum: trace the model, with the extra embedge[optimum]; default: only what is not written by hand",
    )
    parser.add_argument("--force", action="store_true", help="replace what is already at OUT, and at --report")
    parser.add_argument(
        "--report", metavar="HTML", help="write a report on errors, size and speed; needs the extra embedge[report]"
    )


def run(options: argparse.Namespace) -> int:
    """Run ``embedge export``."""
    export = load_export().export
    start = time.monotonic()

    def show(line: str) -> None:
        print(f"{time.monotonic() - start:5.1f} s  {line}", file=sys.stderr, flush=True)

    exported = export(
        options.source,
        options.out,
        precision=options.precision.split(","),
        via=options.via,
        max_tokens=options.max_tokens,
        pooling=options.pooling,
        query_prompt=options.query_prompt,
        document_prompt=options.document_prompt,
        force=options.force,
        report=options.report,
        on_step=show,
    )
    print(f"{exported.path}: {exported.bytes / 1e6:.1f} MB in {exported.seconds:.1f} s")
    for name, measured in exported.manifest.measured.variants.items():
        fidelity = measured.fidelity
        cosines = f"{fidelity.mean_cosine:.6f} mean, {fidelity.min_cosine:.6f} min"
        print(f"  {name}: cosine to {fidelity.reference} {cosines}, {fidelity.texts} texts")
    counts = sorted(exported.operators.items(), key=lambda item: (-item[1], item[0]))
    print(f"  operators: {', '.join(f'{count} {operator}' for operator, count in counts)}")
    if options.report is not None:
        print(f"{options.report}: the report")
    if options.out is None:
        print(f"use it by its name: embedge embed --model {'/'.join(exported.path.parts[-2:])} 'a text'")
    return 0
