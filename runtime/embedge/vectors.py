"""The form vectors are handed out in: fewer dimensions, smaller numbers."""

import math
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

Dtype = Literal["float32", "float16", "int8", "binary"]
DTYPES: tuple[Dtype, ...] = ("float32", "float16", "int8", "binary")

FloatArray = npt.NDArray[np.float32]


def check_form(dimensions: int | None, dtype: str, width: int) -> None:
    """Raise ``ValueError`` unless :func:`encode` can give this form; ``width`` is the model's."""
    if dimensions is not None and not (isinstance(dimensions, int | np.integer) and 1 <= dimensions <= width):
        raise ValueError(f"dimensions={dimensions!r}: the model gives {width}, so ask for 1 to {width}")
    if dtype not in DTYPES:
        raise ValueError(f"dtype={dtype!r}: choose one of {', '.join(DTYPES)}")
    if dtype == "binary" and (dimensions or width) % 8:
        raise ValueError(f"dimensions={dimensions or width}: binary vectors pack 8 dimensions in a byte")


def encode(
    vectors: FloatArray, dimensions: int | None, dtype: Dtype, *, normalized: bool, int8_range: float
) -> npt.NDArray[Any]:
    """``vectors`` in the form asked for. Shape: ``(n, width)`` -> ``(n, dimensions)``, binary ``(n, dimensions / 8)``.

    Fewer dimensions are the first ones, with ``normalized`` made length 1 again; that keeps the meaning only for models
    trained for it (Matryoshka Representation Learning, Kusupati et al. 2022). ``int8`` is ``round(127 x / range)``, cut
    off at -127 and 127, with one range for all components, so that codes can be compared by their dot products in wider
    integers; it is ``int8_range``, and grows with the components of vectors that are normalised again. ``binary`` has a
    bit for each positive component, most significant bit first, as ``uint8``.
    """
    if dimensions is not None and dimensions < vectors.shape[1]:
        grown = math.sqrt(vectors.shape[1] / dimensions)
        vectors = vectors[:, :dimensions]
        if normalized:
            int8_range = min(1.0, int8_range * grown)
            vectors = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), np.float32(1e-12))
    if dtype == "float16":
        return vectors.astype(np.float16)
    if dtype == "int8":
        scaled = np.clip(vectors * np.float32(127 / int8_range), -127, 127)
        codes: npt.NDArray[np.int8] = np.rint(scaled).astype(np.int8)
        return codes
    if dtype == "binary":
        return np.packbits(vectors > 0, axis=1)
    return vectors
