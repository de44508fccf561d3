"""A few texts whose vectors every bundle carries, to tell whether this machine computes them right."""

import numpy as np

from embedge.embedder import Embedder

TEXTS = (
    "",
    "What runs at the edge?",
    "Rain fell on the harbour all night; by 6:30 the ferry to Öland was cancelled, and 214 passengers had to wait.",
)
SMALLEST_COSINE = 0.9999
"""Kernels of other CPUs add up in another order, which moves a cosine by 1e-5; saturated ones by 1e-3 and more."""


def vectors(model: Embedder, texts: tuple[str, ...]) -> tuple[tuple[float, ...], ...]:
    """The vectors of ``texts`` without a prompt, rounded to 7 digits after the point as a manifest keeps them."""
    return tuple(tuple(round(float(x), 7) for x in row) for row in model.embed(list(texts), prompt=""))


def cosine(model: Embedder) -> float:
    """The least cosine between the vectors in the model's manifest and those computed now."""
    manifest = model.manifest
    sealed = np.array(manifest.variants[model.variant].fingerprint)
    now = np.array(vectors(model, manifest.fingerprint_texts))
    lengths = np.linalg.norm(sealed, axis=1) * np.linalg.norm(now, axis=1)
    return float(((sealed * now).sum(axis=1) / lengths).min())
