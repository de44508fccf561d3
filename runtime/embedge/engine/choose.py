"""Which variant of a bundle to run."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from embedge.engine.sessions import CPU, CUDA
from embedge.errors import BundleError, ProviderError
from embedge.manifest import Variant

import onnxruntime  # isort: skip - after embedge.engine.sessions, which switches its telemetry off

VARIANTS = ("int8", "int8-reduced", "fp32")
"""In the order that ``variant="auto"`` prefers them on the CPU, the first only where its kernels are exact."""

_PROBE = Path(__file__).with_name("probe.onnx")

# What to export for a provider that can't run a bundle's variants.
_EXPORT = {CPU: "int8 or fp32", CUDA: "fp16"}


def choose_variant(variants: Mapping[str, Variant], asked: str, providers: Sequence[str] = (CPU,)) -> str:
    """The name of the variant to run on ``providers``: ``asked``, or for ``"auto"`` the one that suits the first best.

    On the CPU that is the smallest that it computes right. fp16 is written for CUDA; the CPU, which converts each
    operator's input and output, runs it only when it is asked for by name.

    Raises:
        BundleError: the bundle has no such variant.
        ProviderError: it has, but the provider can't run it or gets it wrong; the message names the one to use.
    """
    if asked != "auto" and asked not in variants:
        raise BundleError(f"the bundle has no variant {asked!r}; it has {', '.join(sorted(variants))}")
    provider = providers[0]
    if provider == CPU and asked not in ("auto", "int8"):
        return asked
    suited = _suited(variants, provider)
    if asked == "auto" and suited:
        return suited[0]
    if asked in suited:
        return asked
    export = f"export the checkpoint again, with --precision {_EXPORT.get(provider, 'fp32')}"
    use = f"use variant {suited[0]!r}" if suited else export
    if provider != CPU:
        raise ProviderError(f"the int8 products of this bundle have no CUDA kernel; {use}")
    if "int8" in variants:
        raise ProviderError(f"the products of variant 'int8' overflow on this CPU, which has no VNNI or AMX; {use}")
    raise ProviderError(f"the bundle has only fp16, which is for CUDA: ask for variant 'fp16' by name, or {use}")


def _suited(variants: Mapping[str, Variant], provider: str) -> list[str]:
    """The variants that ``provider`` runs right and well, the best first."""
    if provider == CPU:
        known = dict.fromkeys([*VARIANTS, *variants])
        return [n for n in known if n in variants and n != "fp16" and (n != "int8" or int8_is_exact())]
    if provider == CUDA:
        known = dict.fromkeys(["fp16", "fp32", *variants])
        return [n for n in known if n in variants and n not in ("int8", "int8-reduced")]
    # Elsewhere nothing was measured. Those of the most common operators come first.
    known = dict.fromkeys(["fp32", *VARIANTS, *variants])
    return [n for n in known if n in variants]


def int8_is_exact() -> bool:
    """Whether this CPU's kernels multiply unsigned 8-bit by signed 8-bit numbers without overflow.

    Found by trying: the largest numbers through the operator that the graphs use, for one row, whose kernel may be
    another one, and for several. ``vpmaddubsw``, which CPUs without VNNI have for it, adds pairs of products in 16 bits
    and saturates there, silently (onnxruntime issue 6004).
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(_PROBE), options, providers=["CPUExecutionProvider"])
    for rows in (1, 7):
        largest = np.full((rows, 64), 255, np.uint8)
        if not (session.run(None, {"x": largest})[0] == 64 * 255 * 127).all():
            return False
    return True
