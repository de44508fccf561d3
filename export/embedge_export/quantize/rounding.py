"""Rounding a weight matrix to integers so that its products, not its entries, change least."""

import numpy as np
import numpy.typing as npt

from embedge_export.encoder import FloatArray
from embedge_export.reference.forward import Array

_DAMPING = 0.1
"""Share of the mean diagonal that is added to the Hessian; 0.03 and 0.3 lose 0.00001 to 0.00002 of MiniLM's cosine."""
_BLOCK = 64
_CLIPS = (1.0, 0.9, 0.8, 0.7, 0.6)


def column_scales(weight: Array, importance: Array, limit: int) -> FloatArray:
    """A scale for each column: of a few shares of its largest magnitude, the one with the least weighted error.

    Shapes: ``(in, out)``, ``(in,)`` -> ``(out,)``.
    """
    full: FloatArray = (np.abs(weight).max(axis=0) / limit).astype(np.float32)
    full[full == 0] = 1
    best, least = full, np.full(full.shape, np.inf)
    for clip in _CLIPS:
        scale = full * np.float32(clip)
        rounded = np.clip(np.rint(weight / scale), -limit, limit) * scale
        error = importance @ (rounded - weight) ** 2
        best, least = np.where(error < least, scale, best), np.minimum(error, least)
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
    factor = np.linalg.cholesky(np.linalg.inv(damped[np.ix_(order, order)])).T
    left, codes = weight[order], np.empty(weight.shape, np.int8)
    for start in range(0, inputs, _BLOCK):
        stop = min(inputs, start + _BLOCK)
        errors = np.empty((stop - start, weight.shape[1]))
        for row in range(start, stop):
            rounded = np.clip(np.rint(left[row] / scale), -limit, limit)
            codes[order[row]] = rounded
            errors[row - start] = error = (left[row] - rounded * scale) / factor[row, row]
            left[row + 1 : stop] -= factor[row, row + 1 : stop, None] * error
        left[stop:] -= factor[start:stop, stop:].T @ errors
    return codes


def round_rows(table: FloatArray) -> tuple[npt.NDArray[np.int8], FloatArray]:
    """To nearest, with a scale for each row. Shapes: ``(rows, n)`` -> ``(rows, n)``, ``(rows, 1)``."""
    scale = np.abs(table).max(axis=1, keepdims=True) / np.float32(127)
    scale[scale == 0] = 1
    codes: npt.NDArray[np.int8] = np.rint(table / scale).astype(np.int8)
    return codes, scale
