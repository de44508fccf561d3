"""The bundle against its reference: double precision in numpy for fp32, and the fp32 graph for the others."""

import numpy as np
import numpy.typing as npt

from embedge.embedder import Embedder
from embedge.errors import FidelityError
from embedge.manifest import Fidelity
from embedge.tokenizer import Tokenizer
from embedge_export.network import Model
from embedge_export.quantize.calibration import verification_texts

# fp32 differs from double precision by rounding only. The int8 floors stand well below what trained models
# reach (MiniLM on these texts 0.9995 on average and 0.997 at the least, reduced 0.9985 and 0.991), so that what fails
# them is broken, not unlucky.
FLOORS = {
    "fp32": (0.999999, 0.999999),
    "fp16": (0.9999, 0.9999),
    "int8": (0.995, 0.97),
    "int8-reduced": (0.99, 0.95),
}
"""Least mean and least single cosine to the reference of each variant."""

# The reference takes 0.1 s a text, int8 is compared by the fast fp32 graph.
_REFERENCE_TEXTS = 12
_REFERENCE_CHARS = 200
# A thousand tokens or so, or as many as the model takes: sparse attention and other changes with length show.
_LONG_CHARS = 6000

# 29 texts, each cut to these numbers of words: half a second with bge-small.
_INVARIANCE_STEP = 3
_INVARIANCE_WORDS = (2, 6, 20)


def reference_vectors(model: Model, tokenizer: Tokenizer) -> tuple[list[str], npt.NDArray[np.float64]]:
    """A few short texts and a long one, and the vectors that they must have. Shape: ``(n, hidden)``."""
    texts = verification_texts()
    some = [text for text in texts if len(text) <= _REFERENCE_CHARS][:_REFERENCE_TEXTS]
    some.append(" ".join(texts)[:_LONG_CHARS])
    ids = tokenizer.encode(some).ids
    return some, np.array([model.embed(tokens) for tokens in ids], np.float64)


def cosines(vectors: npt.NDArray[np.floating], expected: npt.NDArray[np.floating]) -> npt.NDArray[np.float64]:
    """Row by row. Shapes: ``(n, width)`` twice -> ``(n,)``."""
    a, b = vectors.astype(np.float64), expected.astype(np.float64)
    result: npt.NDArray[np.float64] = (a * b).sum(axis=1) / (np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1))
    return result


def is_batch_invariant(model: Embedder) -> bool:
    """Whether some short texts, many of the same length, have the same bits in one list and each by itself."""
    words = [text.split() for text in verification_texts()[::_INVARIANCE_STEP]]
    texts = sorted({" ".join(start[:count]) for start in words for count in _INVARIANCE_WORDS})
    together = model.embed(texts, prompt="")
    return all((model.embed([text], prompt="")[0] == row).all() for text, row in zip(texts, together, strict=True))


def check(
    variant: str, vectors: npt.NDArray[np.floating], expected: npt.NDArray[np.floating], reference: str
) -> Fidelity:
    """Cosines of ``vectors`` to ``expected``, both ``(n, width)``; raises ``FidelityError`` below the floor."""
    found = cosines(vectors, expected)
    fidelity = Fidelity(reference, round(float(found.mean()), 7), round(float(found.min()), 7), len(found))
    mean, least = FLOORS[variant]
    # Written so that NaN fails.
    if not (fidelity.mean_cosine >= mean and fidelity.min_cosine >= least):
        raise FidelityError(
            f"{variant} has cosines of {fidelity.mean_cosine:.6f} on average and {fidelity.min_cosine:.6f} at least to "
            f"{reference} over {fidelity.texts} texts; {mean} and {least} are needed"
        )
    return fidelity
