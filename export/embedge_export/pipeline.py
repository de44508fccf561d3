"""``export()``: a checkpoint becomes a bundle, step by step, and is checked by running what was written."""

import os
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import embedge
from embedge import bundle as bundles
from embedge import stamps, store
from embedge.bundle import Bundle
from embedge.errors import BundleError, ExportError
from embedge.manifest import FORMAT_VERSION, MANIFEST, TOKENIZER, Manifest, Measurements, Variant
from embedge.tokenizer import Tokenizer
from embedge_export import checkpoint as checkpoints
from embedge_export.checkpoint import Checkpoint
from embedge_export.checkpoint import config as families
from embedge_export.encoder import Pooling
from embedge_export.measure import choices, measure
from embedge_export.network import HandWritten, Network
from embedge_export.page import html as page_html
from embedge_export.page.diagnose import diagnose
from embedge_export.page.reserve import reserve
from embedge_export.quantize.calibration import calibration_ids
from embedge_export.reference.layers import count_operators
from embedge_export.write import PRECISIONS, write_variant

_UNMEASURED = Measurements("not measured", (), {})


@dataclass(frozen=True)
class Exported:
    """What was written: the bundle's ``path`` and ``manifest``, its size in bytes, and the seconds it took.

    ``operators`` counts the nodes of each operator in the graph of the first variant, that of ONNX Runtime's own
    operators; fused ones are among them.
    """

    path: Path
    manifest: Manifest
    bytes: int
    operators: dict[str, int]
    seconds: float


def export(
    source: str | os.PathLike[str],
    out: str | os.PathLike[str] | None = None,
    *,
    precision: str | Sequence[str] = ("int8",),
    via: Literal["auto", "optimum"] = "auto",
    max_tokens: int | None = None,
    pooling: Pooling | None = None,
    query_prompt: str | None = None,
    document_prompt: str | None = None,
    force: bool = False,
    report: str | os.PathLike[str] | None = None,
    on_step: Callable[[str], None] | None = None,
) -> Exported:
    """Write the bundle of an embedding checkpoint to ``out``, whole or not at all.

    Args:
        source: a directory in the Hugging Face layout, or a hub id such as ``"BAAI/bge-small-en"``.
        out: the directory to make; ``None`` for the store, where the bundle of a hub id is found by that id (see
            :mod:`embedge.store`).
        via: ``"optimum"`` traces the model with optimum, which needs the extra ``embedge[optimum]``; ``"auto"`` does so
            only where there is no hand-written graph for it.
        precision: the variants to write, one or several of ``"int8"``, ``"fp32"`` and ``"fp16"``, which is for CUDA and
            never traced.
        max_tokens: the longest input, special tokens included; ``None`` for the checkpoint's own limit.
        pooling: one of :data:`embedge_export.encoder.POOLINGS`; ``None`` for the checkpoint's own.
        query_prompt: put in front of every query; ``None`` for the model's own, often empty.
        document_prompt: put in front of every document; likewise.
        force: replace a bundle that is already at ``out``, and a file that is already at ``report``.
        report: an HTML page to write, outside ``out``, with errors, size and speed of each variant for CPUs in
            pictures; needs the extra ``embedge[report]``. ``None`` for none.
        on_step: called with a line of text before each step.

    Raises:
        CheckpointError: the checkpoint can't be read, or is not one that can be written.
        ExportError: ``out`` or ``report`` exists or can't be written; a directory has no name in the store and needs
            ``out``; the model has to be traced and can't be.
        FidelityError: the bundle would not give the checkpoint's vectors.
        TypeError: an argument of the wrong type.
        ValueError: ``precision``, ``via`` or ``pooling`` outside its choices.
    """
    started, step = time.monotonic(), on_step or (lambda _: None)
    precision = _check_choices(precision, via)
    target = Path(out) if out is not None else _place(os.fspath(source))
    bundles.check_free(target, force=force)
    with reserve(Path(report), target, force=force) if report is not None else nullcontext() as write_page:
        step(f"reading {os.fspath(source)}")
        checkpoint = checkpoints.load(
            os.fspath(source),
            max_tokens=max_tokens,
            pooling=pooling,
            query_prompt=query_prompt,
            document_prompt=document_prompt,
        )
        for kind, origin in checkpoint.prompts.origins.items():
            step(f"{kind} prompt {checkpoint.prompts.texts[kind]!r}: {origin}")
        for note in checkpoint.notes:
            step(note)
        if checkpoint.task == "rerank" and write_page:
            raise ExportError(f"{os.fspath(source)} is a reranker, for which there is no report yet: leave it out")
        network = _load_network(checkpoint, via, precision, step)
        with bundles.write(target, force=force) as directory, warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # texts longer than the model takes are compared as truncated
            (directory / TOKENIZER).write_text(checkpoint.tokenizer, encoding="utf-8")
            networks = dict.fromkeys([name for name in PRECISIONS if name in precision], network)
            if "int8" in networks:
                networks["int8"] = _quantize(checkpoint, network, directory, step)
            step(
                f"writing {', '.join(networks)}: {network.description}, {'+'.join(checkpoint.head.pooling)} pooling, "
                f"{'length 1' if checkpoint.head.unit_length else 'their own length'}, {checkpoint.similarity}, "
                f"{checkpoint.max_tokens} tokens"
            )
            bundle = _write(checkpoint, networks, directory)
            with _reference(checkpoint, network, bundle) as reference:
                measured, int8_range = measure(bundle, reference, network, step)
                manifest = bundle.manifest._replace(int8_range=int8_range, measured=measured)
                if write_page:
                    step("measuring layers and speed for the page")
                    diagnosis = diagnose(bundle, reference, network, networks.get("int8"))
                    write_page(page_html.page(manifest, diagnosis))
            (directory / MANIFEST).write_bytes(manifest.to_bytes())
            step("checking every hash")
            Bundle.open(directory).verify()
            (directory / stamps.STAMPS).unlink(missing_ok=True)
            size = sum(path.stat().st_size for path in directory.iterdir())
            operators = count_operators(directory / choices(bundle, next(iter(manifest.variants)))[0].graph.file)
    return Exported(target, manifest, size, operators, time.monotonic() - started)


def _place(source: str) -> Path:
    """Where the bundle of ``source`` goes in the store."""
    named = checkpoints.hub_id(source)
    if named is None:
        name = Path(os.path.abspath(source)).name  # noqa: PTH100 - `.` gets its name, and links stay
        raise ExportError(f"{source} is a directory and has no name in the store: give OUT, such as models/{name}")
    try:
        return store.place(named[0])
    except BundleError as exc:
        raise ExportError(f"{exc}; or give OUT") from exc


def _check_choices(precision: str | Sequence[str], via: str) -> Sequence[str]:
    """The precisions as a list; raises for an option outside its choices."""
    precisions = [precision] if isinstance(precision, str) else precision
    if not isinstance(precisions, list | tuple):
        raise TypeError(f"precision is {type(precision).__name__}, not a name or a list of names")
    if not precisions or not set(precisions) <= set(PRECISIONS):
        raise ValueError(f"precision={precision!r}: give one or more of {', '.join(PRECISIONS)}")
    if via not in ("auto", "optimum"):
        raise ValueError(f"via={via!r}: give 'auto' or 'optimum'")
    return precisions


def _load_network(checkpoint: Checkpoint, via: str, precision: Sequence[str], step: Callable[[str], None]) -> Network:
    reason = families.not_written(checkpoint.config)
    if via == "auto" and reason is None:
        return HandWritten.load(checkpoint)
    why = f"{reason}, so it has to be traced" if reason else "tracing it was asked for"
    if checkpoint.tokenizer_facts.second:
        raise ExportError(
            f"{checkpoint.directory / 'config.json'}: {why}, and a reranker with token types (type_vocab_size) has a "
            "hand-written graph or none"
        )
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


def _quantize(checkpoint: Checkpoint, network: Network, directory: Path, step: Callable[[str], None]) -> Network:
    tokenizer = Tokenizer(directory / TOKENIZER, checkpoint.max_tokens, checkpoint.tokenizer_facts)
    ids = calibration_ids(tokenizer, checkpoint.vocabulary_size, pairs=checkpoint.task == "rerank")
    step(f"quantizing to int8, calibrated on {len(ids)} texts and random sequences")
    return network.quantize(ids, step)


@contextmanager
def _reference(checkpoint: Checkpoint, network: Network, bundle: Bundle) -> Iterator[Bundle]:
    """The bundle whose fp32 the other variants are compared with: itself, or one beside it while it is needed."""
    if "fp32" in bundle.manifest.variants:
        yield bundle
        return
    with tempfile.TemporaryDirectory(".partial", f"{bundle.path.name}.", bundle.path.parent) as beside:
        (Path(beside) / TOKENIZER).write_text(checkpoint.tokenizer, encoding="utf-8")
        yield _write(checkpoint, {"fp32": network}, Path(beside))


def _write(checkpoint: Checkpoint, networks: Mapping[str, Network], directory: Path) -> Bundle:
    """The files of a bundle with a variant of each of ``networks``; it is neither measured nor sealed yet."""
    variants = {name: write_variant(name, network, directory) for name, network in networks.items()}
    width = next(iter(networks.values())).dimensions
    return Bundle(directory, _describe(checkpoint, width, variants, directory))


def _describe(checkpoint: Checkpoint, width: int, variants: dict[str, Variant], directory: Path) -> Manifest:
    files = {TOKENIZER, *(name for variant in variants.values() for name in variant.files)}
    return Manifest(
        format_version=FORMAT_VERSION,
        created_by=f"embedge {embedge.__version__}",
        source=checkpoint.source,
        task=checkpoint.task,
        dimensions=width,
        max_tokens=checkpoint.max_tokens,
        pooling="+".join(checkpoint.head.pooling),
        normalized=checkpoint.head.unit_length,
        similarity=checkpoint.similarity,
        int8_range=1.0,
        prompts=checkpoint.prompts.texts,
        default_prompt=checkpoint.prompts.default,
        tokenizer=checkpoint.tokenizer_facts,
        files=bundles.seal_files(directory, files),
        variants=variants,
        measured=_UNMEASURED,
        squashed=checkpoint.head.dense[-1].activation == "sigmoid" if checkpoint.task == "rerank" else None,
    )
