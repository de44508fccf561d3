"""``export()``: a checkpoint becomes a bundle, step by step, and is checked by running what was written."""

import os
import time
import warnings
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import embedge
from embedge import bundle, fingerprint
from embedge.embedder import Embedder
from embedge.engine.choose import int8_is_exact
from embedge.errors import ExportError, FidelityError, ProviderError
from embedge.manifest import FORMAT_VERSION, MANIFEST, TOKENIZER, Fidelity, Manifest, Variant
from embedge.tokenizer import Tokenizer
from embedge_export import checkpoint as checkpoints
from embedge_export import measure as verify
from embedge_export import quantize
from embedge_export.checkpoint import Checkpoint
from embedge_export.checkpoint import config as families
from embedge_export.encoder import Pooling
from embedge_export.graph import cuda as graph_fp16
from embedge_export.graph.builder import GraphBuilder, save
from embedge_export.network import HandWritten, Model
from embedge_export.page import diagnose
from embedge_export.page import html as reports
from embedge_export.page.reserve import reserve
from embedge_export.quantize.calibration import calibration_ids, verification_texts
from embedge_export.reference.layers import count_operators

PRECISIONS = ("int8", "fp32", "fp16")

_KERNELS = {
    "int8": "unsigned 8-bit by signed 8-bit products; exact with VNNI, AMX or NEON",
    "int8-reduced": "unsigned 7-bit by signed 8-bit products; exact on every CPU",
    "fp32": "any",
    "fp16": "CUDA (fp16)",
}
_RECIPES = {
    "int8": quantize.RECIPE,
    "int8-reduced": "the weights of int8, with 7-bit activations",
    "fp32": "float32 as in the checkpoint",
    "fp16": graph_fp16.RECIPE,
}
_UNMEASURED = Fidelity("not measured", 0.0, 0.0, 0)


@dataclass(frozen=True)
class ExportReport:
    """What was written: the bundle's ``path`` and ``manifest``, its size in bytes, and the seconds it took.

    ``operators`` counts the nodes of each operator in the graph of the first variant; fused ones are among them.
    """

    path: Path
    manifest: Manifest
    bytes: int
    operators: dict[str, int]
    seconds: float


def export(
    source: str | os.PathLike[str],
    out: str | os.PathLike[str],
    *,
    precision: Sequence[str] = ("int8",),
    via: Literal["auto", "optimum"] = "auto",
    max_tokens: int | None = None,
    pooling: Pooling | None = None,
    query_prompt: str | None = None,
    document_prompt: str | None = None,
    force: bool = False,
    report: str | os.PathLike[str] | None = None,
    on_step: Callable[[str], None] | None = None,
) -> ExportReport:
    """Write the bundle of an embedding checkpoint to ``out``, whole or not at all.

    Args:
        source: a directory in the Hugging Face layout, or a hub id such as ``"BAAI/bge-small-en"``.
        out: the directory to make.
        via: ``"optimum"`` traces the model with optimum, which needs the extra ``embedge[optimum]``; ``"auto"`` does so
            only where there is no hand-written graph for it.
        precision: the variants to write, of ``"int8"``, ``"fp32"`` and ``"fp16"``, which is for CUDA and never traced.
        max_tokens: the longest input, special tokens included; ``None`` for the checkpoint's own limit.
        pooling: ``"cls"`` or ``"mean"``; ``None`` for the checkpoint's own.
        query_prompt: put in front of every query; ``None`` for the model's own, often empty.
        document_prompt: put in front of every document; likewise.
        force: replace a bundle that is already at ``out``, and a file that is already at ``report``.
        report: an HTML page to write, outside ``out``, with errors, size and speed of each variant for CPUs in
            pictures; needs the extra ``embedge[report]``. ``None`` for none.
        on_step: called with a line of text before each step.

    Raises:
        CheckpointError: the checkpoint can't be read, or is not one that can be written.
        ExportError: ``out`` or ``report`` exists or can't be written; the model has to be traced and can't be.
        FidelityError: the bundle would not give the checkpoint's vectors.
    """
    start, target, step = time.monotonic(), Path(out), on_step or (lambda _: None)
    if not precision or not set(precision) <= set(PRECISIONS):
        raise ExportError(f"precision {', '.join(precision)!r}: give one or more of {', '.join(PRECISIONS)}")
    if via not in ("auto", "optimum"):
        raise ExportError(f"via {via!r}: give 'auto' or 'optimum'")
    bundle.check_free(target, force=force)
    with reserve(Path(report), target, force=force) if report is not None else nullcontext() as write_report:
        step(f"reading {os.fspath(source)}")
        checkpoint = checkpoints.load(
            os.fspath(source),
            max_tokens=max_tokens,
            pooling=pooling,
            query_prompt=query_prompt,
            document_prompt=document_prompt,
        )
        model = _load_model(checkpoint, via, precision, step)
        with bundle.write(target, force=force) as directory, warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # texts longer than the model takes are compared as truncated
            (directory / TOKENIZER).write_text(checkpoint.tokenizer, encoding="utf-8")
            manifest, quantized = _fill(checkpoint, model, precision, directory, step)
            diagnosis = None
            if write_report:
                step("measuring layers and speed for the report")
                diagnosis = diagnose.diagnose(directory, model, quantized)
            if "fp32" not in precision:
                manifest = _remove(manifest, "fp32", directory)
            (directory / MANIFEST).write_bytes(manifest.to_bytes())
            step("checking every hash")
            bundle.Bundle.open(directory).verify()
            (directory / bundle.STAMPS).unlink(missing_ok=True)  # made while measuring, of no use elsewhere
            size = sum(path.stat().st_size for path in directory.iterdir())
            operators = count_operators(directory / next(iter(manifest.variants.values())).graph)
            if write_report and diagnosis:
                write_report(reports.page(manifest, diagnosis))
    return ExportReport(target, manifest, size, operators, time.monotonic() - start)


def _load_model(checkpoint: Checkpoint, via: str, precision: Sequence[str], step: Callable[[str], None]) -> Model:
    reason = families.not_written(checkpoint.config)
    if via == "auto" and reason is None:
        return HandWritten.load(checkpoint)
    why = f"{reason}, so it has to be traced" if reason else "tracing it was asked for"
    if "fp16" in precision:
        raise ExportError(f"{checkpoint.directory / 'config.json'}: {why}, and fp16 is for hand-written graphs only")
    try:
        from embedge_export.traced.network import Traced
    except ImportError as exc:
        where, name = checkpoint.directory / "config.json", exc.name or "a module"
        needed = name if isinstance(exc, ModuleNotFoundError) else f"another version of {name} ({exc})"
        raise ExportError(f"{where}: {why}, which needs {needed}: pip install 'embedge[optimum]'") from exc
    step(f"tracing the model: {why}")
    return Traced.load(checkpoint)


def _fill(
    checkpoint: Checkpoint, model: Model, precision: Sequence[str], directory: Path, step: Callable[[str], None]
) -> tuple[Manifest, Model | None]:
    """Write and measure the variants, always with fp32, the reference; also returns the model that int8 has."""
    tokenizer = Tokenizer(directory / TOKENIZER, checkpoint.max_tokens)
    shape = f"{model.description}, {checkpoint.pooling} pooling, {checkpoint.max_tokens} tokens"
    step(f"writing the fp32 graph: {shape}")
    variants = {"fp32": _write_variant("fp32", model.author(), model, directory)}
    quantized = None
    if "int8" in precision:
        ids = calibration_ids(tokenizer, checkpoint.vocabulary_size)
        step(f"quantizing to int8, calibrated on {len(ids)} texts and random sequences")
        quantized = model.quantize(ids, step)
        widths = {"int8": 8, "int8-reduced": 7}
        if not int8_is_exact():
            step(
                "leaving out int8, which this CPU can't check: its products overflow here (int8-reduced runs anywhere)"
            )
            del widths["int8"]
        for name, bits in widths.items():
            authored = quantized.author(activation_bits=bits)
            variants[name] = _write_variant(name, authored, model, directory, weights="model.int8.bin")
    if "fp16" in precision:
        assert isinstance(model, HandWritten)
        authored = graph_fp16.author(model.encoder, model.pooling)
        variants["fp16"] = _write_variant("fp16", authored, model, directory)
    draft = _manifest(checkpoint, model, variants, directory)
    (directory / MANIFEST).write_bytes(draft.to_bytes())

    step(f"comparing fp32 with {model.reference}")
    some, expected = verify.reference_vectors(model, tokenizer)
    with Embedder.load(directory, variant="fp32") as embedder:
        fidelity = verify.check("fp32", embedder.embed(some, prompt=""), expected, model.reference)
        variants["fp32"] = _measured(variants["fp32"], embedder, fidelity)
        texts = verification_texts()
        expected = embedder.embed(texts, prompt="")
    for name in [name for name in variants if name != "fp32"]:
        step(f"comparing {name} with fp32 over {len(texts)} texts")
        with Embedder.load(directory, variant=name) as embedder:
            try:
                vectors = embedder.embed(texts, prompt="")
            except ProviderError as exc:
                raise FidelityError(f"{name} does not run here: {exc}") from exc
            fidelity = verify.check(name, vectors, expected, "fp32")
            variants[name] = _measured(variants[name], embedder, fidelity)
    return _manifest(checkpoint, model, variants, directory), quantized


def _write_variant(
    name: str, authored: GraphBuilder, model: Model, directory: Path, *, weights: str | None = None
) -> Variant:
    """Write a variant's files; its fidelity and fingerprint are still to be measured."""
    files = f"model.{name}.onnx", weights or f"model.{name}.bin"
    save(authored, directory / files[0], directory / files[1])
    return Variant(
        *files,
        recipe=f"{_RECIPES[name]}; {model.origin}",
        kernels=_KERNELS[name],
        fidelity=_UNMEASURED,
        batch_invariant=False,
        fingerprint=(),
    )


def _remove(manifest: Manifest, name: str, directory: Path) -> Manifest:
    """The manifest without a variant that shares no file with others; its files are removed."""
    removed = manifest.variants[name]
    names = (removed.graph, removed.weights)
    for file in names:
        (directory / file).unlink()
    return manifest._replace(
        variants={other: variant for other, variant in manifest.variants.items() if other != name},
        files={file: sealed for file, sealed in manifest.files.items() if file not in names},
    )


def _measured(variant: Variant, embedder: Embedder, fidelity: Fidelity) -> Variant:
    vectors = fingerprint.vectors(embedder, fingerprint.TEXTS)
    # fp16 runs here on the CPU, whose bits say nothing about a GPU's: there they may depend on the batch.
    invariant = embedder.variant != "fp16" and verify.is_batch_invariant(embedder)
    return variant._replace(fidelity=fidelity, batch_invariant=invariant, fingerprint=vectors)


def _manifest(checkpoint: Checkpoint, model: Model, variants: dict[str, Variant], directory: Path) -> Manifest:
    files = {TOKENIZER, *(name for variant in variants.values() for name in (variant.graph, variant.weights))}
    return Manifest(
        format_version=FORMAT_VERSION,
        created_by=f"embedge {embedge.__version__}",
        source=checkpoint.source,
        dimensions=model.hidden_size,
        max_tokens=checkpoint.max_tokens,
        pooling=checkpoint.pooling,
        prompts=checkpoint.prompts,
        files=bundle.seal_files(directory, files),
        fingerprint_texts=fingerprint.TEXTS,
        variants=dict(sorted(variants.items())),
    )
