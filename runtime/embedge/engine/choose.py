"""Which variant of a bundle to run, and by which of its graphs: from what the manifest declares and the machine can."""

from collections.abc import Mapping
from typing import NamedTuple

from embedge.engine.capabilities import Capabilities
from embedge.engine.ort import CPU, CUDA
from embedge.errors import BundleError, ProviderError
from embedge.manifest import ANY_DEVICE, Graph, Variant

EXECUTIONS = ("ragged", "packed", "padded")
"""What this version of the engine can do with a graph (see :mod:`embedge.engine`)."""

# The devices that variants are declared for. What other providers run on is not known; nothing was measured there.
_DEVICES = {CPU: "cpu", CUDA: "cuda"}
# What to export for a provider that can't run a bundle's variants.
_EXPORT = {CPU: "int8 or fp32", CUDA: "fp16"}


class Choice(NamedTuple):
    """A variant's name and the graph that computes it here."""

    variant: str
    graph: Graph


def choose(variants: Mapping[str, Variant], asked: str, provider: str, capabilities: Capabilities) -> Choice:
    """What to run on ``provider``, in ONNX Runtime's name: ``asked``, or for ``"auto"`` the first suited that can run.

    A variant suits the device that it was written for, the first of its ``devices``; fp32 is written for any. It runs
    on the others of ``devices`` too, where it is asked for by name. So the CPU runs fp16, but only by name, since it
    converts each operator's input and output.

    Of a variant's graphs the first is taken whose needs are met.

    Raises:
        BundleError: the bundle has no such variant.
        ProviderError: it has, but not for this provider or this machine; the message says what to do.
    """
    if asked != "auto" and asked not in variants:
        raise BundleError(f"the bundle has no variant {asked!r}; it has {', '.join(variants)}")
    device = _DEVICES.get(provider)
    if provider != CPU:
        capabilities = capabilities._replace(kernels=False)  # which are the CPU's
    suited = [name for name, variant in variants.items() if variant.devices[0] in (device, ANY_DEVICE)]
    if asked == "auto":
        if not suited and device is None:
            suited = list(variants)
        if not suited:
            known = ", ".join(f"{name} (for {' and '.join(variant.devices)})" for name, variant in variants.items())
            raise ProviderError(f"the bundle has nothing for {provider}, only {known}: {_advice(suited, provider)}")
        return _first_that_runs({name: variants[name] for name in suited}, capabilities)
    devices = variants[asked].devices
    if device not in (None, *devices) and ANY_DEVICE not in devices:
        raise ProviderError(
            f"variant {asked!r} is for {' and '.join(devices)}, not for {provider}: {_advice(suited, provider)}"
        )
    return _first_that_runs({asked: variants[asked]}, capabilities)


def _first_that_runs(variants: Mapping[str, Variant], capabilities: Capabilities) -> Choice:
    lacking: list[str] = []
    for name, variant in variants.items():
        for graph in variant.graphs:
            missing = capabilities.lacks(graph.needs)
            if graph.execution not in EXECUTIONS:
                missing.append(f"{graph.execution} execution")
            if not missing:
                return Choice(name, graph)
            lacking += missing
    raise ProviderError(
        f"variant {' or '.join(map(repr, variants))} can't run here: its graphs need "
        f"{', '.join(dict.fromkeys(lacking))}; use another variant or a newer embedge"
    )


def _advice(suited: list[str], provider: str) -> str:
    if suited:
        return f"use variant {suited[0]!r}"
    return f"export the checkpoint again, with --precision {_EXPORT.get(provider, 'fp32')}"
