"""What the report of an export tells of each variant: errors of vectors and of layers, size and speed."""

import contextlib
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from embedge.bundle import Bundle
from embedge.embedder import Embedder
from embedge.manifest import TOKENIZER
from embedge.tokenizer import Tokenizer
from embedge_export import measure as verify
from embedge_export.network import HandWritten, Model
from embedge_export.quantize.calibration import verification_texts
from embedge_export.reference import layers

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


def diagnose(directory: Path, model: Model, quantized: Model | None) -> Diagnosis:
    """Measure the bundle in ``directory``, which has ``model`` as fp32 and variants of ``quantized``, if given."""
    manifest = Bundle.open(directory).manifest
    names = sorted(set(manifest.variants) - {"fp16"})  # is for GPUs; its speed on a CPU tells nothing
    tokenizer = Tokenizer(directory / TOKENIZER, manifest.max_tokens)
    with contextlib.ExitStack() as stack:
        models = {name: stack.enter_context(Embedder.load(directory, variant=name)) for name in names}
        distances = {"fp32": _distance_of_fp32(directory, model, models["fp32"], tokenizer)}
        if quantized is not None:
            distances |= _distances_to_fp32(directory, model, quantized, models, tokenizer)
        speeds = _measure_speed(models)
        threads = models["fp32"].threads
    variants = []
    for name in names:
        files = manifest.variants[name]
        size = sum(manifest.files[file].bytes for file in (files.graph, files.weights))
        operators = layers.count_operators(directory / files.graph)
        variants.append(VariantDiagnosis(name, size, operators, distances[name], speeds[name]))
    return Diagnosis(variants, threads)


def _distance_of_fp32(directory: Path, model: Model, fp32: Embedder, tokenizer: Tokenizer) -> Distances:
    texts, expected = verify.reference_vectors(model, tokenizer)
    errors = None
    if isinstance(model, HandWritten):
        graph = fp32.manifest.variants["fp32"].graph
        trace = layers.trace_graph(directory, graph, model.encoder, model.encoder)
        equations = layers.trace_equations(model.encoder, model.pooling)
        (errors,) = layers.relative_errors(equations, [trace], tokenizer.encode(texts).ids)
    cosines = verify.cosines(fp32.embed(texts, prompt=""), expected)
    return Distances(model.reference, texts, cosines, errors, len(texts))


def _distances_to_fp32(
    directory: Path, model: Model, quantized: Model, models: dict[str, Embedder], tokenizer: Tokenizer
) -> dict[str, Distances]:
    texts = verification_texts()
    fp32 = models["fp32"]
    names = [name for name in models if name != "fp32"]
    ids = tokenizer.encode(texts[::_STEP]).ids
    errors: dict[str, npt.NDArray[np.float64]] = {}
    if isinstance(model, HandWritten) and isinstance(quantized, HandWritten):
        graphs = fp32.manifest.variants
        expected = layers.trace_graph(directory, graphs["fp32"].graph, model.encoder, model.encoder)
        traces = [layers.trace_graph(directory, graphs[name].graph, quantized.encoder, model.encoder) for name in names]
        errors = dict(zip(names, layers.relative_errors(expected, traces, ids), strict=True))
    vectors = fp32.embed(texts, prompt="")
    return {
        name: Distances(
            "fp32", texts, verify.cosines(models[name].embed(texts, prompt=""), vectors), errors.get(name), len(ids)
        )
        for name in names
    }


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
