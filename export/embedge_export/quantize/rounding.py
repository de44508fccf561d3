"""Rounding a weight matrix to integers so that its products, not its entries, change least."""

import numpy as np
import numpy.typing as npt

from embedge_export.encoder import FloatArray
from embedge_export.reference.forward import Array
from embedge_export.reference.rows import blocks

_DAMPING = 0.1
"""Share of the mean diagonal that is added to the Hessian; 0.03 and 0.3 lose 0.00001 to 0.00002 of MiniLM's cosine."""
# Rows after which the rows below are brought up to date: those of the same block, and all.
_FEW = 8
_BLOCK = 128
_CLIPS = (1.0, 0.9, 0.8, 0.7, 0.6)


def column_scales(weight: Array, importance: Array, limit: int) -> FloatArray:
    """A scale for each column: of a few shares of its largest magnitude, the one with the smallest weighted error.

    Shapes: ``(in, out)``, ``(in,)`` -> ``(out,)``.
    """
    full: FloatArray = (np.abs(weight).max(axis=0) / limit).astype(np.float32)
    full[full == 0] = 1
    scales = [full * np.float32(clip) for clip in _CLIPS]
    errors = np.zeros((len(scales), len(full)))
    for rows in blocks(len(weight), _BLOCK):
        for scale, error in zip(scales, errors, strict=True):
            rounded = weight[rows] / scale
            np.rint(rounded, out=rounded)
            np.clip(rounded, -limit, limit, out=rounded)
            rounded *= scale
            rounded -= weight[rows]
            rounded *= rounded
            error += importance[rows] @ rounded
    best: FloatArray = np.choose(errors.argmin(axis=0), scales)
    return best


def round_columns(weight: Array, hessian: Array, scale: FloatArray, limit: int) -> npt.NDArray[np.int8]:
    """Codes of ``-limit`` to ``limit``: GPTQ (Frantar et al. 2022), the most important rows first, damped.

    Each row's rounding error is made up for in the rows still to come, as the inputs' covariance allows. Shapes:
    ``weight`` ``(in, out)``, ``hessian`` ``(in, in)``, ``scale`` ``(out,)`` -> ``(in, out)``.
    """
    inputs = len(weight)
    damped = hessian.copy()
    damped[np.diag_indices(inputs)] += _DAMPING * max(float(np.diag(damped).mean()), 1e-12)
    order = np.argsort(-np.diag(damped), kind="stable")
    factor = _inverse_factor(damped[np.ix_(order, order)])
    left, codes, steps = weight[order], np.empty(weight.shape, np.int8), scale.astype(np.float64)
    for start in range(0, inputs, _BLOCK):
        stop = min(inputs, start + _BLOCK)
        errors = np.empty((stop - start, weight.shape[1]))
        for first in range(start, stop, _FEW):
            last = min(stop, first + _FEW)
            for row in range(first, last):
                rounded = left[row] / steps
                np.rint(rounded, out=rounded)
                np.clip(rounded, -limit, limit, out=rounded)
                codes[order[row]] = rounded
                error = errors[row - start]
                np.subtract(left[row], rounded * steps, out=error)
                error /= factor[row, row]
                if row + 1 < last:
                    left[row + 1 : last] -= factor[row, row + 1 : last, None] * error
            left[last:stop] -= factor[first:last, last:stop].T @ errors[first - start : last - start]
        left[stop:] -= factor[start:stop, stop:].T @ errors
    return codes


def _inverse_factor(matrix: Array) -> Array:
    """The upper triangle ``u`` with ``u.T @ u`` the inverse of a positive definite ``matrix``.

    With rows and columns reversed, Cholesky's factor is an upper triangle ``r`` with ``r @ r.T`` the matrix; ``u`` is
    the inverse of that. It takes a third of the time of inverting the matrix first.
    """
    reversed_factor = np.linalg.cholesky(np.ascontiguousarray(matrix[::-1, ::-1]))
    return _invert_upper(np.ascontiguousarray(reversed_factor[::-1, ::-1]))


def _invert_upper(matrix: Array) -> Array:
    """The inverse of an upper triangle, by halves: the work is in products of matrices."""
    if len(matrix) <= _BLOCK:
        inverse: Array = np.linalg.inv(matrix)
        return inverse
    half = len(matrix) // 2
    inverse = np.zeros(matrix.shape)
    inverse[:half, :half] = _invert_upper(matrix[:half, :half])
    inverse[half:, half:] = _invert_upper(matrix[half:, half:])
    inverse[:half, half:] = -inverse[:half, :half] @ (matrix[:half, half:] @ inverse[half:, half:])
    return inverse


def round_rows(table: FloatArray) -> tuple[npt.NDArray[np.int8], FloatArray]:
    """To nearest, with a scale for each row. Shapes: ``(rows, n)`` -> ``(rows, n)``, ``(rows, 1)``."""
    scale = np.abs(table).max(axis=1, keepdims=True) / np.float32(127)
    scale[scale == 0] = 1
    codes: npt.NDArray[np.int8] = np.rint(table / scale).astype(np.int8)
    return codes, scale
