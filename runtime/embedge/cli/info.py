"""Show what a bundle is: model, limits, prompts, variants, their fidelity and which of them runs on this CPU."""

import argparse
import json

from embedge.cli.options import add_bundle, find_bundle, variant_here
from embedge.cli.table import print_table

EXAMPLE = "embedge info BAAI/bge-small-en"


def add(parser: argparse.ArgumentParser) -> None:
    """Options of ``embedge info``."""
    add_bundle(parser)
    parser.add_argument(
        "--json", action="store_true", help="print the manifest as JSON, without the fingerprint's vectors"
    )


def run(options: argparse.Namespace) -> int:
    """Run ``embedge info``."""
    from embedge.bundle import Bundle
    from embedge.engine.ort import CPU, CUDA

    bundle = Bundle.open(find_bundle(options.bundle or options.model))
    manifest = bundle.manifest
    if options.json:
        fields = manifest.to_fields()
        for measured in fields["measured"]["variants"].values():
            del measured["fingerprint"]
        print(json.dumps({"path": str(bundle.path), **fields}, indent=1, ensure_ascii=False))
        return 0
    rows = [
        ("bundle", str(bundle.path)),
        ("model", manifest.source.id),
        ("revision", manifest.source.revision or "unknown"),
        ("weights sha256", manifest.source.weights_sha256 or "unknown"),
        ("licence", manifest.source.license or "unknown"),
        ("task", {"embed": "embed texts", "rerank": "rerank texts"}[manifest.task]),
        ("dimensions", str(manifest.dimensions)),
        ("longest input", f"{manifest.max_tokens} tokens"),
        ("pooling", manifest.pooling),
        ("normalised", "to length 1" if manifest.normalized else "no"),
        ("similarity", manifest.similarity),
        *[(f"{name} prompt", repr(text)) for name, text in manifest.prompts.items()],
        ("format", f"version {manifest.format_version}, written by {manifest.created_by}"),
        ("identity", manifest.identity()),
        ("measured on", manifest.measured.machine),
        ("size", f"{sum(file.bytes for file in manifest.files.values()) / 1e6:.1f} MB"),
    ]
    rows += [("on this CPU", variant_here(manifest, CPU)), ("with CUDA", variant_here(manifest, CUDA))]
    for name, variant in manifest.variants.items():
        size = sum(manifest.files[file].bytes for file in variant.files)
        measured = manifest.measured.variants[name]
        fidelity = measured.fidelity
        rows += [
            (name, f"{size / 1e6:.1f} MB, {variant.recipe}"),
            ("", f"cosine to {fidelity.reference}: mean {fidelity.mean_cosine:.6f}, min {fidelity.min_cosine:.6f}"),
            ("", f"for {' and '.join(variant.devices)}"),
            ("", "same bits in every batch" if measured.batch_invariant else "bits depend on the batch"),
        ]
    print_table(rows)
    return 0
