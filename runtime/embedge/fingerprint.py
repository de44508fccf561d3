"""A few texts whose vectors every bundle carries, to check whether this machine computes them right.

Of a reranker they are the scores of each text as a query with all of them.
"""

import base64

import numpy as np
import numpy.typing as npt

from embedge.embedder import Embedder
from embedge.errors import BundleError
from embedge.manifest import MANIFEST, Variant
from embedge.reranker import Reranker
from embedge.vectors import FloatArray

TEXTS = (
    "",
    "What runs at the edge?",
    "Rain fell on the harbour all night; by 6:30 the ferry to Öland was cancelled, and 214 passengers had to wait.",
)


def vectors(model: Embedder | Reranker, texts: tuple[str, ...]) -> tuple[str, ...]:
    """The vectors of ``texts`` without a prompt, or their scores, each as a manifest keeps it."""
    rows = _compute(model, texts)
    return tuple(base64.b64encode(row.astype("<f4").tobytes()).decode() for row in rows)


def cosine(model: Embedder | Reranker) -> float:
    """The smallest cosine between the vectors in the model's manifest and those computed now.

    Raises:
        BundleError: the manifest holds no such vectors.
    """
    measured = model.manifest.measured
    try:
        sealed = _decode(measured.variants[model.variant].fingerprint)
        width = len(measured.texts) if isinstance(model, Reranker) else model.dimensions
        complete = sealed.shape == (len(measured.texts), width) and np.isfinite(sealed).all()
        complete = complete and np.linalg.norm(sealed, axis=1).all()
    except ValueError:
        complete = False
    if not complete:
        raise BundleError(f"{model.path / MANIFEST} holds no vectors to compare with; export the checkpoint again")
    now = _decode(vectors(model, measured.texts))
    lengths = np.linalg.norm(sealed, axis=1) * np.linalg.norm(now, axis=1)
    return float(((sealed * now).sum(axis=1) / lengths).min())


def smallest_cosine(variant: Variant, kernels: bool = False) -> float:
    """How far :func:`cosine` may fall on another machine, and by ``kernels`` other than ONNX Runtime's.

    Kernels of other CPUs round float32 in other places. In int8 that now and then tips an activation to the next
    integer. Measured with all-MiniLM-L6-v2 over 30 texts of 3 to 58 tokens, between a Zen 3 with AVX2, a Xeon with
    AVX-512 and AMX, and three emulated ARM CPUs: 0.99973 at a minimum, 0.99996 for the three texts of the fingerprint;
    fp32 differed by 1e-12. The limits are several times as far from 1. Where the products of signed weights overflowed,
    the minimum of the three was 0.978. For scores of rerankers the same limits hold; no differences of theirs between
    CPUs were measured. fp16 on a GPU, whose kernels round between operators, was 0.9999984 from fp32.

    Those of ``embedge-kernels`` round attention to 16 bits, which tips more. With all-MiniLM-L6-v2 the cosine to ONNX
    Runtime's was 0.9975 at a minimum over 2,444 texts of one to six words, and 0.9976 for those of the fingerprint.
    """
    if variant.codes:
        return 0.995 if kernels else 0.998
    return 0.999999 if variant.graphs[0].execution == "ragged" else 0.9999


def _compute(model: Embedder | Reranker, texts: tuple[str, ...]) -> FloatArray:
    """Shape: ``(n, dimensions)``, or ``(n, n)``."""
    if isinstance(model, Embedder):
        return model.embed(texts, prompt="")
    return model.scores([(query, text) for query in texts for text in texts]).reshape(len(texts), len(texts))


def _decode(rows: tuple[str, ...]) -> npt.NDArray[np.float64]:
    return np.array([np.frombuffer(base64.b64decode(row), "<f4") for row in rows], np.float64)
