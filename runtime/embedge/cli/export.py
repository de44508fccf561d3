"""Make a bundle from an embedding checkpoint.

Needs the extra ``embedge[export]``, for some checkpoints ``embedge[optimum]``; the work is in ``embedge_export``.
"""

import argparse
import sys
import time

from embedge.cli.options import positive
from embedge.errors import ExportError

_MODULES = ("onnx", "huggingface_hub")


def add(parser: argparse.ArgumentParser) -> None:
    """Options of ``embedge export``."""
    parser.add_argument("source", metavar="SOURCE", help="a checkpoint's directory, or a hub id like BAAI/bge-small-en")
    parser.add_argument("out", metavar="OUT", help="the directory to write")
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
    parser.add_argument("--max-tokens", type=positive, metavar="N", help="longest input; default: the checkpoint's")
    parser.add_argument("--pooling", choices=("cls", "mean"), help="default: the checkpoint's")
    parser.add_argument("--query-prompt", metavar="TEXT", help="put in front of queries; default: the model's")
    parser.add_argument("--document-prompt", metavar="TEXT", help="put in front of documents; default: the model's")
    parser.add_argument("--force", action="store_true", help="replace what is already at OUT, and at --report")
    parser.add_argument(
        "--report", metavar="HTML", help="write a page about errors, size and speed; needs the extra embedge[report]"
    )


def run(options: argparse.Namespace) -> int:
    """Run ``embedge export``."""
    try:
        from embedge_export import export
    except ModuleNotFoundError as exc:
        if exc.name not in _MODULES:
            raise
        raise ExportError(f"export needs {exc.name}: pip install 'embedge[export]'") from exc

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
        page=options.report,
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
    return 0
