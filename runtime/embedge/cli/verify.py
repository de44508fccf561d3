"""Check a bundle: every file's hash, and that this machine computes the vectors it was sealed with."""

import argparse

from embedge.cli.options import add_bundle, add_provider, find_bundle
from embedge.errors import BundleError, ProviderError

EXAMPLE = "embedge verify BAAI/bge-small-en"


def add(parser: argparse.ArgumentParser) -> None:
    """Options of ``embedge verify``."""
    add_bundle(parser)
    add_provider(parser)


def run(options: argparse.Namespace) -> int:
    """Run ``embedge verify``."""
    from embedge.bundle import Bundle
    from embedge.checks import verify

    path = find_bundle(options.bundle or options.model)
    checks = verify(path, providers=options.provider)
    manifest = Bundle.open(path).manifest
    print(f"{len(manifest.files)} files have their sealed bytes")
    where = ", ".join(options.provider or ["cpu"])
    for check in checks:
        if check.cosine is None:
            print(f"{check.variant}: not run: {check.reason}")
        elif check.passed:
            print(
                f"{check.variant} on {where}: vectors as sealed on {manifest.measured.machine}, "
                f"cosine {check.cosine:.6f} (min {check.smallest:g})"
            )
    for check in checks:
        if not check.passed:
            raise BundleError(
                f"{check.variant} of {path} gives other vectors here than where it was sealed: cosine "
                f"{check.cosine:.6f}, min {check.smallest:g}; use another variant, and report this CPU "
                "with the output of `embedge doctor`"
            )
    if all(check.cosine is None for check in checks):
        raise ProviderError(f"no variant of {path} can run on {where} here, so no vectors were compared")
    return 0
