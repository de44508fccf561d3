"""Show what embedge finds on this machine: versions, CPU, GPU, threads, and the variant it would run."""

import argparse
import platform
import sys

from embedge import __version__
from embedge.cli.options import add_bundle, find_bundle, variant_here
from embedge.cli.table import print_table
from embedge.errors import BundleError, ProviderError

EXAMPLE = "embedge doctor"


def add(parser: argparse.ArgumentParser) -> None:
    """Options of ``embedge doctor``."""
    add_bundle(parser)


def run(options: argparse.Namespace) -> int:
    """Run ``embedge doctor``; having no bundle is an error only where one was named."""
    import numpy as np
    import tokenizers

    from embedge.bundle import Bundle
    from embedge.engine import cuda
    from embedge.engine.capabilities import capabilities
    from embedge.engine.cpus import cpu_budget, cpu_features, cpu_name
    from embedge.engine.native import kernels
    from embedge.engine.ort import CPU, CUDA, onnxruntime

    asked = options.bundle or options.model
    budget, reasons = cpu_budget(), cuda.why_not(CUDA)
    rows = [
        ("embedge", __version__),
        ("python", f"{platform.python_version()} ({sys.executable})"),
        ("system", f"{platform.system()} {platform.release()}, {platform.machine()}"),
        ("onnxruntime", f"{onnxruntime.__version__}, from {_packages(cuda.distributions())}"),
        ("tokenizers", tokenizers.__version__),
        ("numpy", np.__version__),
        ("CPU", cpu_name()),
        ("CPU features", ", ".join(cpu_features()) or "unknown"),
        ("threads", f"{budget.threads}, from {budget.reason}"),
        ("int8 products", _products(exact=capabilities().exact_u8s8)),
        ("embedge-kernels", kernels().description),
        ("providers", ", ".join(onnxruntime.get_available_providers())),
        ("GPU", _gpus()),
        *[("" if number else "CUDA", reason) for number, reason in enumerate(reasons or ["can be used"])],
        ("telemetry", "off"),
    ]
    try:
        bundle = Bundle.open(find_bundle(asked))
        rows.append(("bundle", f"{bundle.path} ({bundle.manifest.source.id})"))
        rows.append(("variant", variant_here(bundle.manifest, CPU)))
        if not reasons:
            rows.append(("with CUDA", variant_here(bundle.manifest, CUDA)))
    except BundleError as exc:
        if asked:
            print_table(rows)
            raise
        rows.append(("bundle", f"none: {exc}"))
    print_table(rows)
    return 0


def _products(*, exact: bool) -> str:
    if exact:
        return "exact with weights as they are stored"
    return "those with signed weights overflow; exact with weights taken as unsigned, which are turned at load"


def _packages(found: dict[str, str]) -> str:
    names = " and ".join(f"{name} {version}" for name, version in found.items()) or "an unknown package"
    return f"{names}, which overwrite each other's files" if len(found) > 1 else names


def _gpus() -> str:
    from embedge.engine import cuda

    try:
        (major, minor), gpus = cuda.query_driver()
    except ProviderError:
        return "none of NVIDIA's"  # the next row says why
    return f"{', '.join(gpus)}; the driver supports CUDA {major}.{minor}"
