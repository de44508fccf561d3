"""Text embeddings on CPUs, from small sealed bundles.

>>> from embedge import Embedder
>>> with Embedder.load("models/all-minilm-l6-v2") as model:
...     passages = model.embed(["ONNX Runtime runs on edge boxes."])
...     query = model.embed_query("what runs at the edge?")

Importing this package loads neither numpy nor ONNX Runtime nor tokenizers: what needs them comes when it is first
asked for.
"""

from typing import TYPE_CHECKING

from embedge.errors import (
    BundleCorrupt,
    BundleError,
    CheckpointError,
    EmbedgeError,
    ExportError,
    FidelityError,
    InputError,
    PackError,
    ProviderError,
    UnsupportedFormat,
)

if TYPE_CHECKING:
    from embedge.bundle import Bundle
    from embedge.checks import Check, verify
    from embedge.embedder import Embedder
    from embedge.manifest import Manifest, Variant
    from embedge.reranker import Ranked, Reranker
    from embedge.vectors import similarity

__version__ = "0.1.0"

__all__ = [
    "Bundle",
    "BundleCorrupt",
    "BundleError",
    "Check",
    "CheckpointError",
    "Embedder",
    "EmbedgeError",
    "ExportError",
    "FidelityError",
    "InputError",
    "Manifest",
    "PackError",
    "ProviderError",
    "Ranked",
    "Reranker",
    "UnsupportedFormat",
    "Variant",
    "__version__",
    "similarity",
    "verify",
]

_MODULES = {
    "Bundle": "bundle",
    "Check": "checks",
    "Embedder": "embedder",
    "Manifest": "manifest",
    "Ranked": "reranker",
    "Reranker": "reranker",
    "Variant": "manifest",
    "similarity": "vectors",
    "verify": "checks",
}


def __getattr__(name: str) -> object:
    if name not in _MODULES:
        raise AttributeError(f"module 'embedge' has no attribute {name!r}")
    from importlib import import_module

    value: object = getattr(import_module(f"embedge.{_MODULES[name]}"), name)
    return value


def __dir__() -> list[str]:
    return __all__
