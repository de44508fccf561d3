"""List the bundles in the store: name, variants, size, and cosine to the checkpoint.

The store is the directory in which ``embedge export`` puts a model under its name (see ``embedge.store``).
"""

import argparse
import json
from typing import Any

from embedge import store
from embedge.cli import streams
from embedge.cli.table import print_table
from embedge.errors import BundleError

EXAMPLE = "embedge list --json"


def add(parser: argparse.ArgumentParser) -> None:
    """Options of ``embedge list``."""
    parser.add_argument("--json", action="store_true", help="print a JSON array, with the bundles' paths")


def run(options: argparse.Namespace) -> int:
    """Run ``embedge list``."""
    found = [_describe(name) for name in store.names()]
    if options.json:
        print(json.dumps(found, indent=1, ensure_ascii=False))
        return 0
    if not found:
        streams.tell(f"no bundle in {store.home()} yet; make one with `embedge export BAAI/bge-small-en`")
    else:
        print_table([(bundle["name"], _line(bundle)) for bundle in found])
    return 0


def _line(bundle: dict[str, Any]) -> str:
    if bundle["error"]:
        return f"damaged: {bundle['error']}"
    variants = [f"{name} (cosine {variant['mean_cosine']:.4f})" for name, variant in bundle["variants"].items()]
    return f"{bundle['bytes'] / 1e6:7.1f} MB  {', '.join(variants)}"


def _describe(name: str) -> dict[str, Any]:
    from embedge.bundle import Bundle

    path = store.home() / name
    try:
        manifest = Bundle.open(path).manifest
    except BundleError as exc:
        return {"name": name, "path": str(path), "bytes": None, "variants": {}, "error": str(exc)}
    variants = {
        variant: {
            "bytes": sum(manifest.files[file].bytes for file in manifest.variants[variant].files),
            "mean_cosine": measured.fidelity.mean_cosine,
            "min_cosine": measured.fidelity.min_cosine,
        }
        for variant, measured in manifest.measured.variants.items()
    }
    size = sum(file.bytes for file in manifest.files.values())
    return {"name": name, "path": str(path), "bytes": size, "variants": variants, "error": None}
