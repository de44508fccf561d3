"""A variant of a bundle, ready to run: texts of equal length side by side on threads, or fp16's padded batches."""

from collections.abc import Sequence
from typing import Protocol

from embedge.bundle import Bundle
from embedge.engine.ragged import Workers
from embedge.engine.sessions import Engine
from embedge.vectors import FloatArray


class Runner(Protocol):
    """Token ids to vectors: :class:`.ragged.Workers`, or :class:`.padded.PaddedRunner` for fp16."""

    def run(self, ids: Sequence[Sequence[int]]) -> FloatArray:
        """One vector for each text. Shape: ragged ``(n, tokens)`` -> ``(n, width)``."""

    def close(self) -> None:
        """Wait for the calls under way; later ones raise an ``EmbedgeError``."""


def load(bundle: Bundle, variant: str, *, threads: int, providers: Sequence[str]) -> tuple[Runner, str | None]:
    """The runner of ``variant`` on ``providers``, in ONNX Runtime's names, and what of it runs on the CPU unasked.

    Raises:
        BundleError: the graph can't be loaded.
        ProviderError: it can't be loaded or run on these providers, or they take none of its nodes.
    """
    manifest = bundle.manifest
    files = manifest.variants[variant]
    graph, weights = bundle.file(files.graph), bundle.file(files.weights)
    width = manifest.dimensions
    if variant == "fp16":
        from embedge.engine.padded import PaddedRunner

        runner = PaddedRunner(
            graph, weights, threads=threads, providers=providers, width=width, max_tokens=manifest.max_tokens
        )
        return runner, runner.fallback
    integer = variant in ("int8", "int8-reduced")
    engine = Engine(graph, weights, threads=threads, providers=providers, integer=integer)
    return Workers(engine, threads=threads, width=width), engine.fallback
