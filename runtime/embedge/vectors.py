"""The form vectors are handed out in, fewer dimensions or smaller numbers, and how to compare them in each."""

import math
import typing
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from embedge.inputs import check_choice, whole_number

Dtype = Literal["float32", "float16", "int8", "binary"]
DTYPES: tuple[Dtype, ...] = ("float32", "float16", "int8", "binary")

FloatArray = npt.NDArray[np.float32]

Measure = Literal["cosine", "dot", "euclidean", "manhattan"]


def check_form(dimensions: int | None, dtype: object, width: int) -> int:
    """The number of ``dimensions`` asked for, with ``None`` for all; ``width`` is the model's.

    Raises:
        TypeError: ``dimensions`` is not an integer, or ``dtype`` not a ``str``.
        ValueError: :func:`encode` can't give this form.
    """
    if dimensions is not None:
        dimensions = whole_number("dimensions", dimensions)
        if not 1 <= dimensions <= width:
            raise ValueError(f"dimensions={dimensions}: the model gives {width}, so ask for 1 to {width}")
    dimensions = dimensions or width
    check_choice("dtype", dtype, DTYPES)
    if dtype == "binary" and dimensions % 8:
        raise ValueError(f"dimensions={dimensions}: binary vectors pack 8 dimensions in a byte")
    return dimensions


def encode(
    vectors: FloatArray, dimensions: int, dtype: Dtype, *, normalized: bool, int8_range: float
) -> npt.NDArray[Any]:
    """``vectors`` in the form asked for. Shape: ``(n, width)`` -> ``(n, dimensions)``, binary ``(n, dimensions / 8)``.

    Fewer dimensions are the first ones, with ``normalized`` made length 1 again; that keeps the meaning only for models
    trained for it (Matryoshka Representation Learning, Kusupati et al. 2022). ``int8`` is ``round(127 x / range)``, cut
    off at -127 and 127, with one range for all components, so that codes can be compared by their dot products in wider
    integers; it is ``int8_range``, and grows with the components of vectors that are normalised again. ``binary`` has a
    bit for each positive component, most significant bit first, as ``uint8``.
    """
    if dimensions < vectors.shape[1]:
        grown = math.sqrt(vectors.shape[1] / dimensions)
        vectors = np.ascontiguousarray(vectors[:, :dimensions])
        if normalized:
            int8_range = min(1.0, int8_range * grown)
            vectors = normalize(vectors)
    if dtype == "float16":
        return vectors.astype(np.float16)
    if dtype == "int8":
        scaled = np.clip(vectors * np.float32(127 / int8_range), -127, 127)
        codes: npt.NDArray[np.int8] = np.rint(scaled).astype(np.int8)
        return codes
    if dtype == "binary":
        return np.packbits(vectors > 0, axis=1)
    return vectors


def normalize(vectors: FloatArray) -> FloatArray:
    """Each row made length 1; one of zeros stays. Shape: ``(n, width)``."""
    unit: FloatArray = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), np.float32(1e-12))
    return unit


def similarity(a: npt.ArrayLike, b: npt.ArrayLike, *, measure: Measure = "cosine") -> FloatArray:
    """The similarity of each vector of ``a`` to each of ``b``. Shape: ``(n, width)``, ``(m, width)`` -> ``(n, m)``.

    Larger is more alike for every ``measure``: distances are negative. :meth:`embedge.Embedder.similarity` takes the
    model's own.

    One vector, of shape ``(width,)``, counts as one row; the result always has two axes. Vectors of every ``dtype`` of
    :meth:`embedge.Embedder.embed` are taken. Use this for ``int8`` ones rather than ``a @ b.T``: NumPy would add their
    products in 8 bits, where they overflow silently. Cosines and dot products may be of ``int8`` and float types;
    distances between the two would mean nothing.

    For ``binary`` vectors (``uint8``) the cosine is an estimate, ``cos(pi * h / d)`` with the Hamming distance ``h`` of
    ``d`` bits: bits are the signs of components, and two vectors at an angle differ in the sign of a random direction
    with the probability ``angle / pi`` (Charikar 2002).

    Args:
        a: vectors of one dtype.
        b: vectors of the same number of dimensions.
        measure: ``"cosine"``, ``"dot"``, ``"euclidean"`` or ``"manhattan"``; ``"cosine"`` only for binary vectors. Of
            ``int8`` vectors the others are in units of their codes.

    Raises:
        TypeError: neither floats nor ``int8`` nor ``uint8``; ``measure`` is not a ``str``.
        ValueError: binary vectors with others or for another measure, distances between ``int8`` and floats, an unknown
            measure, another number of dimensions, or more than two axes.
    """
    check_choice("measure", measure, typing.get_args(Measure))
    one, other = _rows(a), _rows(b)
    if one.shape[1] != other.shape[1]:
        raise ValueError(f"vectors of {one.shape[1]} and {other.shape[1]} numbers can't be compared")
    binary = one.dtype == np.uint8
    if binary != (other.dtype == np.uint8):
        raise ValueError(f"binary vectors (uint8) compare with binary ones only: {one.dtype} and {other.dtype}")
    if binary and measure != "cosine":
        raise ValueError(f"binary vectors (uint8) have a cosine only, not {measure!r}")
    if measure == "dot":
        products: FloatArray = one.astype(np.float32) @ other.astype(np.float32).T
        return products
    if measure != "cosine":
        if one.dtype != other.dtype and np.int8 in (one.dtype, other.dtype):
            raise ValueError(
                f"{one.dtype} and {other.dtype} have no {measure} distance, since int8 vectors are in units of their "
                "own: take both of one dtype"
            )
        power = 2 if measure == "euclidean" else 1
        left = one.astype(np.float32)
        distances = [np.linalg.norm(left - row, ord=power, axis=1) for row in other.astype(np.float32)]
        return -np.array(distances, np.float32).reshape(len(other), len(one)).T
    cosines: FloatArray = _unit(one, binary) @ _unit(other, binary).T
    np.clip(cosines, -1, 1, out=cosines)
    # With signs as components the cosine is 1 - 2 h / d.
    return np.sin(cosines * np.float32(math.pi / 2)) if binary else cosines


def _rows(vectors: npt.ArrayLike) -> npt.NDArray[Any]:
    array = np.asarray(vectors)
    if array.dtype.kind != "f" and array.dtype not in (np.int8, np.uint8):
        raise TypeError(f"vectors of {array.dtype} can't be compared: give floats, int8, or uint8 for binary ones")
    if array.ndim not in (1, 2):
        raise ValueError(f"vectors of shape {array.shape}: give (n, width), or (width,) for one")
    return np.atleast_2d(array)


def _unit(rows: npt.NDArray[Any], binary: bool) -> FloatArray:
    """Rows of length 1, of the signs that the bits stand for where they are ``binary``. Those of zeros stay."""
    if binary:
        rows = np.unpackbits(rows, axis=1).astype(np.int8) * 2 - 1
    floats = rows.astype(np.result_type(rows, np.float32))
    # First to a largest component of 1: squares of very large or small ones are out of float32's range.
    floats /= _or_one(np.abs(floats).max(axis=1, initial=0, keepdims=True))
    floats /= _or_one(np.linalg.norm(floats, axis=1, keepdims=True))
    return floats.astype(np.float32, copy=False)


def _or_one(lengths: npt.NDArray[Any]) -> npt.NDArray[Any]:
    return np.where(lengths == 0, 1, lengths)
