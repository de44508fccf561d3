"""ONNX Runtime's execution providers other than the CPU: their names, why one is unavailable, and what runs on which.

CUDA's was run on a GPU, OpenVINO's was tried on a CPU (see docs/gpu.md), the others were not run by this project.
"""

from collections import Counter
from collections.abc import Sequence

from embedge.engine import cuda
from embedge.engine.ort import CPU, CUDA, TENSORRT, onnxruntime
from embedge.errors import ProviderError

PROVIDERS = {
    "cpu": CPU,
    "cuda": CUDA,
    "coreml": "CoreMLExecutionProvider",
    "directml": "DmlExecutionProvider",
    "openvino": "OpenVINOExecutionProvider",
    "tensorrt": TENSORRT,
}
"""Short names and those of ONNX Runtime."""

# Operators that a message names at the most.
_NAMED = 5


def resolve(names: Sequence[str]) -> list[str]:
    """ONNX Runtime's names for ``names``, which are keys of :data:`PROVIDERS` or such names already.

    Raises:
        ProviderError: a provider that is unavailable here; the message says why and what to do.
    """
    if not names:
        raise ProviderError("providers is empty: name one, such as providers=['cuda'], or pass None for the CPU")
    resolved = [str(PROVIDERS.get(name, name)) for name in names]
    if len(set(resolved)) < len(resolved):
        raise ProviderError(f"providers {', '.join(names)}: one is there twice")
    if CPU in resolved[:-1]:
        raise ProviderError(f"providers {', '.join(names)}: the CPU takes every node, so it can only be the last")
    for name in resolved:
        _check(name)
    return resolved


def _check(name: str) -> None:
    """Raise unless ONNX Runtime has a provider, as far as can be known before a session is made."""
    if name in cuda.LIBRARIES:
        reasons = cuda.why_not(name)
        if reasons:
            raise ProviderError(f"{name} can't be used here: {'; and '.join(reasons)}")
    available = onnxruntime.get_available_providers()
    if name in available:
        return
    if name not in onnxruntime.get_all_providers():
        raise ProviderError(f"there is no provider {name!r}: give {', '.join(PROVIDERS)}, or ONNX Runtime's own name")
    raise ProviderError(
        f"{name} is not in the installed onnxruntime {onnxruntime.__version__}, which has {', '.join(available)}; "
        "install the onnxruntime package that has it, or leave providers out"
    )


def find_fallback(session: onnxruntime.InferenceSession, providers: Sequence[str]) -> str | None:
    """What of a session runs on the CPU although ``providers``, its own, do not name it; ``None`` when nothing does.

    The session must have been made with ``session.record_ep_graph_assignment_info``.

    Raises:
        ProviderError: nothing at all runs on what was asked for.
    """
    on_cpu: Counter[str] = Counter()
    elsewhere = 0
    for part in session.get_provider_graph_assignment_info():
        kinds = [node.op_type for node in part.get_nodes()]
        if part.ep_name == CPU:
            on_cpu.update(kinds)
        else:
            elsewhere += len(kinds)
    asked = ", ".join(name for name in providers if name != CPU)
    if not elsewhere:
        raise ProviderError(
            f"{asked} takes none of the model's {on_cpu.total()} nodes, so all would run on the CPU; "
            "leave providers out to run there on purpose"
        )
    if not on_cpu or CPU in providers:
        return None
    kinds = [f"{count} {kind}" for kind, count in on_cpu.most_common(_NAMED)]
    more = f" and {len(on_cpu) - _NAMED} other kinds" if len(on_cpu) > _NAMED else ""
    return (
        f"{on_cpu.total()} of {on_cpu.total() + elsewhere} nodes run on the CPU, which {asked} does not take: "
        f'{", ".join(kinds)}{more}; add "cpu" to providers to have it so without this warning'
    )
