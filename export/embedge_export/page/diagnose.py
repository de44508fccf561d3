"""What the page about an export shows of each variant: errors of vectors and of layers, size and speed."""

import contextlib
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from embedge.bundle import Bundle
from embedge.embedder import Embedder
from embedge.engine.choose import Choice
from embedge.engine.cpus import cpu_budget
from embedge_export.measure import choices, cosines, model_tokenizer
from embedge_export.network import HandWritten, Network
from embedge_export.quantize.calibration import verification_texts
from embedge_export.reference import layers
from embedge_export.trials import reference_outputs, reference_texts

# Lengths of the single texts that are timed, in tokens.
_LENGTHS = (8, 32, 128)
_ROUNDS = 11
_LIST_ROUNDS = 3
# Layers are compared over every third of the texts that vectors are compared over, and so many are in the list that is
# timed, so that a report adds less than 10 s to MiniLM's export.
_STEP = 3


@dataclass(frozen=True)
class Distances:
    """How near a variant's vectors are to its reference's: a cosine for each of ``texts``."""

    reference: str
    texts: list[str]
    cosines: npt.NDArray[np.float64]
    layers: npt.NDArray[np.float64] | None
    """Relative errors of the embeddings and of each layer (``relative_errors``); ``None`` for a traced graph, whose
    layers have no names."""
    layer_texts: int
    """Over so many of the texts."""


@dataclass(frozen=True)
class Speed:
    """Medians: seconds for one text, by its length in tokens; and texts a second of a list of ``texts``."""

    seconds: dict[int, float]
    texts_per_second: float
    texts: int


@dataclass(frozen=True)
class VariantDiagnosis:
    """One variant; ``bytes`` are those of its graph and its weights, ``operators`` how many nodes of each it has."""

    name: str
    bytes: int
    operators: dict[str, int]
    distances: Distances
    speed: Speed


@dataclass(frozen=True)
class Diagnosis:
    """All variants, and on how many threads their speed was measured."""

    variants: list[VariantDiagnosis]
    threads: int


def diagnose(bundle: Bundle, reference: Bundle, network: Network, quantized: Network | None) -> Diagnosis:
    """Measure ``bundle``, whose int8 is ``quantized``, and the fp32 of ``reference``, which is ``network``."""
    places = {name: bundle for name in bundle.manifest.variants if name != "fp16"}  # its speed on a CPU says nothing
    places["fp32"] = reference
    picked = {name: choices(place, name)[0] for name, place in sorted(places.items(), key=lambda item: item[0])}
    with contextlib.ExitStack() as stack:
        models = {
            name: stack.enter_context(Embedder.start(places[name], choice, threads=cpu_budget().threads))
            for name, choice in picked.items()
        }
        fp32 = models["fp32"]
        distances = {"fp32": _distance_of_fp32(reference, picked["fp32"], network, fp32)}
        if quantized is not None:
            errors = _layer_errors(bundle, picked["int8"], reference, picked["fp32"], network, quantized)
            texts = verification_texts()
            found = cosines(models["int8"].embed(texts, prompt=""), fp32.embed(texts, prompt=""))
            distances["int8"] = Distances("fp32", texts, found, errors, len(texts[::_STEP]))
        speeds = _measure_speed(models)
        threads = fp32.threads
    variants = []
    for name, choice in picked.items():
        manifest = places[name].manifest
        size = sum(manifest.files[file].bytes for file in manifest.variants[name].files)
        operators = layers.count_operators(places[name].file(choice.graph.file))
        variants.append(VariantDiagnosis(name, size, operators, distances[name], speeds[name]))
    return Diagnosis(variants, threads)


def _distance_of_fp32(reference: Bundle, choice: Choice, network: Network, fp32: Embedder) -> Distances:
    tokenizer = model_tokenizer(reference)
    texts = reference_texts()
    expected = reference_outputs(network, tokenizer, texts, pairs=False)
    errors = None
    if isinstance(network, HandWritten):
        trace = layers.trace_graph(reference, choice, network.encoder, network.encoder)
        equations = layers.trace_equations(network.encoder, network.head)
        (errors,) = layers.relative_errors(equations, [trace], tokenizer.encode(texts).ids)
    return Distances(network.reference, texts, cosines(fp32.embed(texts, prompt=""), expected), errors, len(texts))


def _layer_errors(
    bundle: Bundle, int8: Choice, reference: Bundle, fp32: Choice, network: Network, quantized: Network
) -> npt.NDArray[np.float64] | None:
    """Those of int8 to fp32; ``None`` for a traced graph."""
    if not (isinstance(network, HandWritten) and isinstance(quantized, HandWritten)):
        return None
    expected = layers.trace_graph(reference, fp32, network.encoder, network.encoder)
    trace = layers.trace_graph(bundle, int8, quantized.encoder, network.encoder)
    ids = model_tokenizer(bundle).encode(verification_texts()[::_STEP]).ids
    return layers.relative_errors(expected, [trace], ids)[0]


def _measure_speed(models: dict[str, Embedder]) -> dict[str, Speed]:
    """Variants take turns, so that what else the machine does slows all of them."""
    texts = verification_texts()[::_STEP]
    single = _texts_of_length(next(iter(models.values())))
    seconds: dict[str, dict[int, list[float]]] = {name: {tokens: [] for tokens in single} for name in models}
    for number in range(_ROUNDS + 1):
        for name, model in models.items():
            for tokens, text in single.items():
                took = _time(model, [text])
                if number:  # the first round makes sessions and warms caches
                    seconds[name][tokens].append(took)
    lists: dict[str, list[float]] = {name: [] for name in models}
    for _ in range(_LIST_ROUNDS):  # warm from the vectors compared before
        for name, model in models.items():
            lists[name].append(_time(model, texts))
    return {
        name: Speed(
            {tokens: statistics.median(took) for tokens, took in seconds[name].items()},
            len(texts) / statistics.median(lists[name]),
            len(texts),
        )
        for name in models
    }


def _texts_of_length(model: Embedder) -> dict[int, str]:
    """The start of a text, for each of the lengths that the model takes, by the tokens that it really has."""
    words = max(verification_texts(), key=len).split(" ")
    starts = [" ".join(words[:end]) for end in range(1, len(words) + 1)]
    counts = model.count_tokens(starts)
    found = {}
    for length in _LENGTHS:
        fitting = [(tokens, text) for tokens, text in zip(counts, starts, strict=True) if tokens <= length]
        if fitting and length <= model.manifest.max_tokens:
            found[fitting[-1][0]] = fitting[-1][1]
    return found or {min(counts[0], model.manifest.max_tokens): starts[0]}


def _time(model: Embedder, texts: Sequence[str]) -> float:
    start = time.perf_counter()
    model.embed(texts, prompt="")
    return time.perf_counter() - start
