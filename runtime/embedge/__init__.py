"""Text embeddings on CPUs, from small sealed bundles.

>>> from embedge import Embedder
>>> with Embedder.load("models/all-minilm-l6-v2") as model:
...     passages = model.embed(["ONNX Runtime runs on edge boxes."])
...     query = model.embed_query("what runs at the edge?")

Importing this package loads neither numpy nor ONNX Runtime nor tokenizers: the two classes below come when they are
first asked for.
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
    ProviderError,
    UnsupportedFormat,
)

if TYPE_CHECKING:
    from embedge.bundle import Bundle
    from embedge.embedder import Embedder

__version__ = "0.1.0"

__all__ = [
    "Bundle",
    "BundleCorrupt",
    "BundleError",
    "CheckpointError",
    "Embedder",
    "EmbedgeError",
    "ExportError",
    "FidelityError",
    "InputError",
    "ProviderError",
    "UnsupportedFormat",
    "__version__",
]


def __getattr__(name: str) -> object:
    if name == "Embedder":
        from embedge.embedder import Embedder

        return Embedder
    if name == "Bundle":
        from embedge.bundle import Bundle

        return Bundle
    raise AttributeError(f"module 'embedge' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
