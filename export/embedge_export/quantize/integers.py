"""The inputs of a matrix as the 8-bit integers that the graph rounds them to, and what follows from them.

Sums of products of integers are the same in whichever order a BLAS adds them, as long as they stay below 2^24 in single
precision, which is twice as fast as double precision, and below 2^53 in double. By Cauchy and Schwarz no sum, partial
or whole, is larger than the root of the product of both sides' sums of squares.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from embedge_export.encoder import CENTRE, SMALLEST_SCALE, FloatArray
from embedge_export.reference.forward import Array
from embedge_export.reference.rows import blocks, by_rows

_EXACT = 2.0**24
# Rows that are multiplied with their scales at a time, so that memory for all is not needed.
_ROWS = 1024
# Rows whose scales are within a factor of the square root of 2 have one scale in the covariance.
_PER_OCTAVE = 2


@dataclass(frozen=True)
class RoundedInputs:
    """``codes * scale``, row by row, the scale not below ``smallest_scale``. Shapes: ``(n, in)``, ``(n, 1)``.

    The codes are integers of ``-zero_point`` to ``255 - zero_point``, held as float32.
    """

    codes: FloatArray
    scale: Array
    smallest_scale: float

    def times(self, codes: npt.NDArray[np.int8], scale: FloatArray) -> Array:
        """The product with a matrix of integers and a scale for each column. Shape: ``(n, out)``."""
        weights = codes.astype(np.float32)
        squares = float(_squares(self.codes, 1).max()) * float(_squares(weights, 0).max())
        kind = np.float32 if squares < _EXACT**2 else np.float64
        products = self.codes.astype(kind, copy=False) @ weights.astype(kind, copy=False)
        out = np.empty(products.shape)

        def rows(part: slice) -> None:
            np.multiply(products[part], self.scale[part], out=out[part])
            out[part] *= scale

        by_rows(rows, *out.shape)
        return out

    def mean(self, rows: int) -> Array:
        """The mean of the first ``rows``. Shape: ``(in,)``."""
        total = np.zeros(self.codes.shape[1])
        for part in blocks(rows, _ROWS):
            total += (self.codes[part] * self.scale[part]).sum(axis=0)
        return total / rows

    def covariance(self) -> Array:
        """Of the rows, those of about the same scale with the root mean square of their scales. Shape: ``(in, in)``.

        With a scale for each row they would not be integers; how much each counts need not be exact.
        """
        width = self.codes.shape[1]
        covariance, mean = np.zeros((width, width)), np.zeros(width)
        size = np.rint(np.log2(self.scale[:, 0]) * _PER_OCTAVE)
        for group in np.unique(size):
            alike = np.flatnonzero(size == group)
            power = float((self.scale[alike] ** 2).mean())
            mean += self.codes[alike].sum(axis=0, dtype=np.float64) * power**0.5
            for codes in _exact_parts(self.codes[alike]):
                _add(covariance, codes.T @ codes, power)  # the same array twice: BLAS computes one half of it
        mean /= len(size)
        covariance /= len(size)
        covariance -= np.outer(mean, mean)
        return covariance


def round_inputs(x: Array, shift: FloatArray, smoothing: FloatArray, zero_point: int) -> RoundedInputs:
    """Round ``(x - shift) / smoothing`` as the graph does, but in double precision.

    Shapes: ``(n, in)``, ``(in,)``, ``(in,)``.
    """
    smallest, top = SMALLEST_SCALE, 255 - zero_point
    if zero_point != CENTRE:
        lowest = np.subtract(x.min(axis=0), shift, dtype=np.float64) / smoothing
        smallest = max(-float(lowest.min()), 1e-6) / zero_point
    codes, scale = np.empty(x.shape, np.float32), np.empty((len(x), 1))

    def rows(part: slice) -> None:
        values = np.subtract(x[part], shift, dtype=np.float64)
        values /= smoothing
        largest = (np.abs(values) if zero_point == CENTRE else values).max(axis=1, keepdims=True)
        scale[part] = np.maximum(largest * np.float32(1 / top), np.float32(smallest))
        values /= scale[part]
        np.rint(values, out=values)
        np.clip(values, -zero_point, top, out=codes[part], casting="unsafe")

    by_rows(rows, *x.shape)
    return RoundedInputs(codes, scale, smallest)


def _exact_parts(codes: FloatArray) -> Iterator[FloatArray]:
    """As many rows at a time as have exact products with each other."""
    if _squares(codes, 0).max() < _EXACT:
        yield codes
        return
    half = len(codes) // 2
    yield from _exact_parts(codes[:half])
    yield from _exact_parts(codes[half:])


def _add(total: Array, products: Array, factor: float) -> None:
    def rows(part: slice) -> None:
        total[part] += products[part].astype(np.float64) * factor

    by_rows(rows, *total.shape)


def _squares(values: FloatArray, axis: int) -> Array:
    """Sums of squares along an axis."""
    subscripts = "ij,ij->i" if axis == 1 else "ij,ij->j"
    sums: Array = np.einsum(subscripts, values, values, dtype=np.float64)
    return sums
