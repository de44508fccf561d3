"""``export()``: a checkpoint becomes a bundle, step by step, and is checked by running what was written."""

import os
import time
import warnings
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

import embedge
from embedge import bundle, fingerprint
from embedge.embedder import Embedder
from embedge.errors import ExportError
from embedge.manifest import FORMAT_VERSION, MANIFEST, TOKENIZER, Fidelity, Manifest, Variant
from embedge.session import int8_is_exact
from embedge.tokenizer import Tokenizer
from embedge_export import checkpoint as checkpoints
from embedge_export import diagnose, graph, quantize, verify
from embedge_export import report as reports
from embedge_export.calibration import calibration_ids, verification_texts
from embedge_export.checkpoint import Checkpoint
from embedge_export.encoder import Encoder, Pooling
from embedge_export.reserve import reserve

PRECISIONS = ("int8", "fp32")

_KERNELS = {
    "int8": "unsigned 8-bit by signed 8-bit products; exact with VNNI, AMX or NEON",
    "int8-reduced": "unsigned 7-bit by signed 8-bit products; exact on every CPU",
    "fp32": "any",
}
_RECIPES = {
    "int8": quantize.RECIPE,
    "int8-reduced": "the weights of int8, with 7-bit activations",
    "fp32": "float32 as in the checkpoint",
}
_UNMEASURED = Fidelity("not measured", 0.0, 0.0, 0)


@dataclass(frozen=True)
class ExportReport:
    """What was written: the bundle's ``path`` and ``manifest``, its size in bytes, and the seconds it took."""

    path: Path
    manifest: Manifest
    bytes: int
    seconds: float


def export(
    source: str | os.PathLike[str],
    out: str | os.PathLike[str],
    *,
    precision: Sequence[str] = ("int8",),
    max_tokens: int | None = None,
    pooling: Pooling | None = None,
    query_prompt: str | None = None,
    document_prompt: str | None = None,
    force: bool = False,
    report: str | os.PathLike[str] | None = None,
    on_step: Callable[[str], None] | None = None,
) -> ExportReport:
    """Write the bundle of a BERT embedding checkpoint to ``out``, whole or not at all.

    Args:
        source: a directory in the Hugging Face layout, or a hub id such as ``"BAAI/bge-small-en"``.
        out: the directory to make.
        precision: the variants to write, of ``"int8"`` and ``"fp32"``.
        max_tokens: the longest input, special tokens included; ``None`` for the checkpoint's own limit.
        pooling: ``"cls"`` or ``"mean"``; ``None`` for the checkpoint's own.
        query_prompt: put in front of every query; ``None`` for the model's own, often empty.
        document_prompt: put in front of every document; likewise.
        force: replace a bundle that is already at ``out``, and a file that is already at ``report``.
        report: an HTML page to write, outside ``out``, with errors, size and speed of each variant in pictures; needs
            the extra ``embedge[report]``. ``None`` for none.
        on_step: called with a line of text before each step.

    Raises:
        CheckpointError: the checkpoint can't be read, or is not one that can be written.
        ExportError: ``out`` or ``report`` exists or can't be written.
        FidelityError: the bundle would not give the checkpoint's vectors.
    """
    start, target, step = time.monotonic(), Path(out), on_step or (lambda _: None)
    if not precision or not set(precision) <= set(PRECISIONS):
        raise ExportError(f"precision {', '.join(precision)!r}: give one or more of {', '.join(PRECISIONS)}")
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
        with bundle.write(target, force=force) as directory, warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # texts longer than the model takes are compared as truncated
            (directory / TOKENIZER).write_text(checkpoint.tokenizer, encoding="utf-8")
            manifest, quantized = _fill(checkpoint, precision, directory, step)
            diagnosis = None
            if write_report:
                step("measuring layers and speed for the report")
                diagnosis = diagnose.diagnose(directory, checkpoint, quantized)
            if "fp32" not in precision:
                manifest = _remove(manifest, "fp32", directory)
            (directory / MANIFEST).write_bytes(manifest.to_bytes())
            step("checking every hash")
            bundle.Bundle.open(directory).verify()
            (directory / bundle.STAMPS).unlink(missing_ok=True)  # made while measuring, of no use elsewhere
            size = sum(path.stat().st_size for path in directory.iterdir())
            if write_report and diagnosis:
                write_report(reports.page(manifest, diagnosis))
    return ExportReport(target, manifest, size, time.monotonic() - start)


def _fill(
    checkpoint: Checkpoint, precision: Sequence[str], directory: Path, step: Callable[[str], None]
) -> tuple[Manifest, Encoder | None]:
    """Write and measure the variants, always with fp32, the reference; also returns the encoder that int8 has."""
    tokenizer = Tokenizer(directory / TOKENIZER, checkpoint.max_tokens)
    step(f"writing the fp32 graph: {_describe(checkpoint)}")
    variants = {"fp32": _write_variant("fp32", graph.author(checkpoint.encoder, checkpoint.pooling), directory)}
    quantized = None
    if "int8" in precision:
        ids = calibration_ids(tokenizer, checkpoint.encoder.vocabulary_size)
        step(f"quantizing to int8, calibrated on {len(ids)} texts and random sequences")
        quantized = quantize.int8(checkpoint.encoder, ids)
        widths = {"int8": 8, "int8-reduced": 7}
        if not int8_is_exact():
            step(
                "leaving out int8, which this CPU can't check: its products overflow here (int8-reduced runs anywhere)"
            )
            del widths["int8"]
        for name, bits in widths.items():
            authored = graph.author(quantized, checkpoint.pooling, activation_bits=bits)
            variants[name] = _write_variant(name, authored, directory, weights="model.int8.bin")
    draft = _manifest(checkpoint, variants, directory)
    (directory / MANIFEST).write_bytes(draft.to_bytes())

    step("comparing fp32 with the equations")
    some, expected = verify.reference_vectors(checkpoint, tokenizer)
    with Embedder.load(directory, variant="fp32") as model:
        fidelity = verify.check("fp32", model.embed(some, prompt=""), expected, verify.EQUATIONS)
        variants["fp32"] = _measured(variants["fp32"], model, fidelity)
        texts = verification_texts()
        expected = model.embed(texts, prompt="")
    for name in [name for name in variants if name != "fp32"]:
        step(f"comparing {name} with fp32 over {len(texts)} texts")
        with Embedder.load(directory, variant=name) as model:
            fidelity = verify.check(name, model.embed(texts, prompt=""), expected, "fp32")
            variants[name] = _measured(variants[name], model, fidelity)
    return _manifest(checkpoint, variants, directory), quantized


def _write_variant(name: str, authored: graph.GraphBuilder, directory: Path, *, weights: str | None = None) -> Variant:
    """Write a variant's files; its fidelity and fingerprint are still to be measured."""
    files = f"model.{name}.onnx", weights or f"model.{name}.bin"
    graph.save(authored, directory / files[0], directory / files[1])
    return Variant(
        *files,
        recipe=_RECIPES[name],
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


def _measured(variant: Variant, model: Embedder, fidelity: Fidelity) -> Variant:
    vectors = fingerprint.vectors(model, fingerprint.TEXTS)
    return variant._replace(fidelity=fidelity, batch_invariant=verify.is_batch_invariant(model), fingerprint=vectors)


def _manifest(checkpoint: Checkpoint, variants: dict[str, Variant], directory: Path) -> Manifest:
    files = {TOKENIZER, *(name for variant in variants.values() for name in (variant.graph, variant.weights))}
    return Manifest(
        format_version=FORMAT_VERSION,
        created_by=f"embedge {embedge.__version__}",
        source=checkpoint.source,
        dimensions=checkpoint.encoder.hidden_size,
        max_tokens=checkpoint.max_tokens,
        pooling=checkpoint.pooling,
        prompts=checkpoint.prompts,
        files=bundle.seal_files(directory, files),
        fingerprint_texts=fingerprint.TEXTS,
        variants=dict(sorted(variants.items())),
    )


def _describe(checkpoint: Checkpoint) -> str:
    encoder = checkpoint.encoder
    return (
        f"{len(encoder.layers)} layers, {encoder.heads} heads, hidden size {encoder.hidden_size}, "
        f"{checkpoint.pooling} pooling, {checkpoint.max_tokens} tokens"
    )
