"""What a bundle's variants compute, compared with their references.

That of fp32 is double precision in numpy, or what a graph was traced from; that of the others the fp32 graph.
"""

import math
from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from embedge import fingerprint
from embedge.bundle import Bundle
from embedge.embedder import Embedder
from embedge.engine.capabilities import capabilities
from embedge.engine.choose import EXECUTIONS, Choice
from embedge.engine.cpus import cpu_budget, cpu_features, cpu_name
from embedge.engine.native import kernels
from embedge.engine.ort import onnxruntime
from embedge.errors import BundleError, FidelityError, ProviderError
from embedge.manifest import TOKENIZER, Fidelity, Measured, Measurements
from embedge.reranker import Reranker
from embedge.tokenizer import Tokenizer
from embedge_export.network import Network
from embedge_export.quantize.calibration import verification_texts
from embedge_export.trials import Model, is_batch_invariant, outputs, reference_outputs, reference_texts

# fp32 differs from double precision by rounding only. The int8 floor stands well below what trained models reach
# (MiniLM on these texts 0.9995 on average and 0.997 at the least), so that what fails it is broken, not unlucky.
FLOORS = {"fp32": (0.999999, 0.999999), "fp16": (0.9999, 0.9999), "int8": (0.995, 0.97)}
"""Least mean and least single cosine to the reference of each variant."""

# Of a query's centred scores. A small trained reranker reaches 0.9992 and 0.9983, and on 93 questions of XQuAD 0.9993
# and 0.9953; through a sigmoid that presses most scores together, 0.9989 and 0.978.
_RERANK_FLOOR = (0.99, 0.95)

# What graphs for kernels need, see `embedge.engine.capabilities.Capabilities`.
_KERNELS = "kernels"

# Components of other texts may be so many times as large as the largest of the texts that ship; a power of two in the
# denominator, so that the last bits of another machine do not change it.
_RANGE_MARGIN = 1.5
_RANGE_STEPS = 16


def measure(
    bundle: Bundle, reference: Bundle, network: Network, step: Callable[[str], None]
) -> tuple[Measurements, float]:
    """Run every variant of ``bundle``, whose fp32 is that of ``reference``, which has the graph of ``network``.

    Also returns the range for vectors in int8, :attr:`embedge.manifest.Manifest.int8_range`.

    Raises:
        FidelityError: vectors are too far from those that they must be, or a variant does not run.
    """
    step(f"comparing fp32 with {network.reference}")
    with _start(reference, choices(reference, "fp32")[0]) as model:
        some, pairs = reference_texts(), bundle.manifest.task == "rerank"
        expected = reference_outputs(network, model_tokenizer(reference), some, pairs=pairs)
        fidelity = check("fp32", outputs(model, some), expected, network.reference)
        found = {"fp32": _measured(model, fidelity)}
        texts = verification_texts()
        fp32 = outputs(model, texts)
    for name in bundle.manifest.variants:
        if name == "fp32":
            continue
        step(f"comparing {name} with fp32 over {len(texts)} texts")
        try:
            with _start(bundle, choices(bundle, name)[0]) as model:
                found[name] = _measured(model, check(name, outputs(model, texts), fp32, "fp32", pairs=pairs))
        except ProviderError as exc:
            raise FidelityError(f"{name} does not run here: {exc}") from exc
        _compare_graphs(bundle, name, found[name])
        _check_kernels(bundle, name, texts, fp32, step)
    machine = f"{cpu_name()} ({', '.join(cpu_features()) or 'unknown features'}), onnxruntime {onnxruntime.__version__}"
    measured = Measurements(machine, fingerprint.TEXTS, {name: found[name] for name in bundle.manifest.variants})
    return measured, _int8_range(fp32, normalized=bundle.manifest.normalized)


def choices(bundle: Bundle, name: str) -> list[Choice]:
    """The graphs of a variant that give right vectors on this machine's CPU, the fastest first.

    Without those for kernels that may be installed or not: what a bundle says of itself does not depend on that.
    """
    stock = capabilities()._replace(kernels=False)
    graphs = bundle.manifest.variants[name].graphs
    return [Choice(name, graph) for graph in graphs if graph.execution in EXECUTIONS and not stock.lacks(graph.needs)]


def model_tokenizer(bundle: Bundle) -> Tokenizer:
    """The tokenizer of a bundle."""
    return Tokenizer(bundle.file(TOKENIZER), bundle.manifest.max_tokens, bundle.manifest.tokenizer)


def _int8_range(vectors: npt.NDArray[np.floating], *, normalized: bool) -> float:
    """The magnitude that 127 stands for, from vectors of many texts. Shape: ``(n, width)``.

    One for all components, so that codes can be compared by their dot products.
    """
    largest = math.ceil(_RANGE_MARGIN * _RANGE_STEPS * float(np.abs(vectors).max())) / _RANGE_STEPS
    return min(largest, 1.0) if normalized else largest


def _start(bundle: Bundle, choice: Choice) -> Model:
    kind = Reranker if bundle.manifest.task == "rerank" else Embedder
    return kind.start(bundle, choice, threads=cpu_budget().threads)


def _measured(model: Model, fidelity: Fidelity) -> Measured:
    # fp16 runs here on the CPU, whose bits say nothing about a GPU's: there they may depend on the batch.
    invariant = model.variant != "fp16" and is_batch_invariant(model)
    return Measured(fidelity, invariant, fingerprint.vectors(model, fingerprint.TEXTS))


def _compare_graphs(bundle: Bundle, name: str, measured: Measured) -> None:
    """Raise ``FidelityError`` unless all graphs of a variant load and those right on this CPU agree to the bit.

    Those for the kernels give other bits, and load where these are, see :func:`_check_kernels`.
    """
    right = choices(bundle, name)
    for graph in bundle.manifest.variants[name].graphs:
        if _KERNELS in graph.needs:
            continue
        choice = Choice(name, graph)
        try:
            with _start(bundle, choice) as model:
                same = choice not in right or fingerprint.vectors(model, fingerprint.TEXTS) == measured.fingerprint
        except (BundleError, ProviderError) as exc:
            raise FidelityError(f"{graph.file} does not load here: {exc}") from exc
        if not same:
            raise FidelityError(f"{graph.file} gives other vectors than the first graph of {name}")


def _check_kernels(
    bundle: Bundle, name: str, texts: list[str], fp32: npt.NDArray[np.floating], step: Callable[[str], None]
) -> None:
    """Raise ``FidelityError`` unless the kernels' graph of a variant, if any, does what `measure` asks of the first.

    Where there are no kernels its vectors are not compared.
    """
    pairs = bundle.manifest.task == "rerank"
    for graph in bundle.manifest.variants[name].graphs:
        if _KERNELS not in graph.needs:
            continue
        if capabilities().lacks(graph.needs):
            step(f"{graph.file} is not compared: embedge-kernels {kernels().description}")
            continue
        step(f"comparing {graph.file} with fp32")
        try:
            with _start(bundle, Choice(name, graph)) as model:
                check(name, outputs(model, texts), fp32, f"fp32 by {graph.file}", pairs=pairs)
                invariant = is_batch_invariant(model)
        except (BundleError, ProviderError) as exc:
            raise FidelityError(f"{graph.file} does not run here: {exc}") from exc
        if not invariant:
            raise FidelityError(f"{graph.file} gives a text other bits in a list than by itself")


def cosines(vectors: npt.NDArray[np.floating], expected: npt.NDArray[np.floating]) -> npt.NDArray[np.float64]:
    """Row by row. Shapes: ``(n, width)`` twice -> ``(n,)``."""
    a, b = vectors.astype(np.float64), expected.astype(np.float64)
    result: npt.NDArray[np.float64] = (a * b).sum(axis=1) / (np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1))
    return result


def check(
    variant: str,
    vectors: npt.NDArray[np.floating],
    expected: npt.NDArray[np.floating],
    reference: str,
    *,
    pairs: bool = False,
) -> Fidelity:
    """Cosines of ``vectors`` to ``expected``, both ``(n, width)``; raises ``FidelityError`` below the floor."""
    found = cosines(vectors, expected)
    fidelity = Fidelity(reference, round(float(found.mean()), 7), round(float(found.min()), 7), len(found))
    mean, least = _RERANK_FLOOR if pairs and variant == "int8" else FLOORS[variant]
    # Written so that NaN fails.
    if not (fidelity.mean_cosine >= mean and fidelity.min_cosine >= least):
        raise FidelityError(
            f"{variant} has cosines of {fidelity.mean_cosine:.6f} on average and {fidelity.min_cosine:.6f} at least to "
            f"{reference} over {fidelity.texts} texts; {mean} and {least} are needed"
        )
    return fidelity
