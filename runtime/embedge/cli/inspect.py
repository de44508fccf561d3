"""Show what an export would make of a checkpoint, without making it.

Needs the extra ``embedge[export]``. A hub id is fetched, as an export would fetch it.
"""

import argparse
import json

from embedge.cli.checkpoint import add_checkpoint, load_export
from embedge.cli.table import print_table

EXAMPLE = "embedge inspect path/to/checkpoint"


def add(parser: argparse.ArgumentParser) -> None:
    """Options of ``embedge inspect``."""
    add_checkpoint(parser)
    parser.add_argument("--json", action="store_true", help="the same as one JSON object")


def run(options: argparse.Namespace) -> int:
    """Run ``embedge inspect``."""
    found = load_export().inspect(
        options.source,
        max_tokens=options.max_tokens,
        pooling=options.pooling,
        query_prompt=options.query_prompt,
        document_prompt=options.document_prompt,
    )
    if options.json:
        print(json.dumps(found.to_fields(), indent=1, ensure_ascii=False))
        return 0
    size = (
        "unknown, since it has to be traced" if found.bundle is None else f"about {found.bundle / 1e6:.0f} MB in int8"
    )
    rows = [
        ("model", found.model),
        ("revision", found.revision or "unknown"),
        ("licence", found.license or "unknown"),
        ("task", {"embed": "embed texts", "rerank": "rerank texts"}[found.task]),
        ("architecture", found.architecture),
        ("graph", found.route),
        ("pooling", found.pooling),
        *[("head", layer) for layer in found.head],
        ("normalised", "to length 1" if found.normalized else "no"),
        ("similarity", found.similarity),
        ("dimensions", str(found.dimensions)),
        ("longest input", f"{found.max_tokens} tokens"),
    ]
    for name, text in found.prompts.items():
        origin = f" ({found.prompts_from[name]})" if name in found.prompts_from else ""
        rows.append((f"{name} prompt", f"{text!r}{origin}"))
    if found.default_prompt:
        rows.append(("default prompt", found.default_prompt))
    rows += [
        ("tokenizer", f"{found.tokenizer}, {found.vocabulary} tokens"),
        ("weights", f"{', '.join(found.dtypes)}, {found.weights / 1e6:.1f} MB"),
        ("bundle", size),
        *[("note", note) for note in found.notes],
    ]
    print_table(rows)
    return 0
