"""Check a bundle: every file's hash, and that this machine computes the vectors it was sealed with."""

import argparse

from embedge.cli.options import add_bundle, add_provider, find_bundle
from embedge.errors import BundleError, ProviderError


def add(parser: argparse.ArgumentParser) -> None:
    """Options of ``embedge verify``."""
    add_bundle(parser)
    add_provider(parser)


def run(options: argparse.Namespace) -> int:
    """Run ``embedge verify``."""
    from embedge import fingerprint
    from embedge.bundle import Bundle
    from embedge.embedder import Embedder
    from embedge.engine.choose import choose_variant
    from embedge.engine.providers import resolve

    path = find_bundle(options.model)
    providers = resolve(options.provider or ["cpu"])
    where = ", ".join(options.provider or ["cpu"])
    bundle = Bundle.open(path)
    bundle.verify()
    print(f"{len(bundle.manifest.files)} files have their sealed bytes")
    for name, variant in bundle.manifest.variants.items():
        try:
            choose_variant(bundle.manifest.variants, name, providers)
        except ProviderError as exc:  # that nothing would run it here is not the bundle's fault
            print(f"{name}: not run: {exc}")
            continue
        with Embedder.load(path, variant=name, providers=options.provider) as model:
            cosine = fingerprint.cosine(model)
        # Written so that NaN fails.
        if not cosine >= fingerprint.SMALLEST_COSINE:
            raise BundleError(
                f"{path / variant.graph} gives other vectors here than where it was sealed: cosine {cosine:.6f}; "
                f"use another variant than this one ({variant.kernels})"
            )
        print(f"{name} on {where}: vectors as sealed, cosine {cosine:.6f}")
    return 0
