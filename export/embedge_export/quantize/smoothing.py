"""Which channels of a matrix's input to shrink before it is rounded, and its weights to grow by as much.

SmoothQuant (Xiao et al. 2022) moves the difficulty of rounding from activations with a few large channels to the
weights by a rule with one exponent. Here the factors are optimised instead, one for each channel, by the noise power
that rounding both sides leaves in the product: on MiniLM the activations' share of the error falls to a fifth of what
the best exponent leaves.
"""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import numpy.typing as npt

from embedge_export.encoder import CENTRE, FloatArray
from embedge_export.reference.forward import Array
from embedge_export.reference.rows import BLOCK_VALUES, blocks

_STEPS = 80
_START_EXPONENT = 0.7


def find_smoothing(x: Array, weight: Array, zero_point: int, kappa: float) -> FloatArray:
    """Factors to divide the channels of ``x`` by, with a geometric mean of 1. Shapes: ``(n, in)``, ``(in, out)``.

    Minimises by multiplicative steps::

        mean_t(row_scale_t^2) * sum_j(s_j^2 |W_j|^2)  +  kappa * sum_o(column_scale_o^2) * sum_j(var_j / s_j^2)

    the noise of rounding the rows of ``x / s`` and of the columns of ``s W``, up to a common constant. ``zero_point``
    128 means rows scaled by their largest magnitude, another one rows scaled by their largest value above it.
    """
    width = x.shape[1]
    # Channels that calibration never excites get a small floor instead of a zero.
    largest = _at_least(np.abs(x).max(axis=0), 1e-3)
    norm = _at_least(np.sqrt((weight * weight).sum(axis=1)), 1e-3)
    variance = _at_least(x.var(axis=0), 1e-6)
    rows, columns = _Largest(np.abs(x) if zero_point == CENTRE else x), _Largest(np.abs(weight).T)
    lowest = x.min(axis=0)
    log = _START_EXPONENT * np.log(largest) - (1 - _START_EXPONENT) * np.log(norm)
    best, best_cost = np.exp(log), np.inf
    with ThreadPoolExecutor(1) as other:
        for step in range(_STEPS):
            smoothing = np.exp(log)
            found = other.submit(columns.find, smoothing)
            row_at, row_scale = _row_scales(rows, lowest / smoothing, smoothing, zero_point)
            column_at, column_scale = found.result()
            row_power, column_power = row_scale**2, column_scale**2
            weight_noise, input_noise = (smoothing * norm) ** 2, variance / smoothing**2
            first = float(row_power.mean() * weight_noise.sum())
            second = kappa * float(column_power.sum() * input_noise.sum())
            if not (first > 0 and second > 0 and first + second < np.inf):
                break  # nothing to trade: the inputs or the weights are all zero
            if first + second < best_cost:
                best, best_cost = np.exp(log), first + second
            # The gradient in log(s): shrink a channel where it sets rows' scales, grow it where it sets columns'.
            gradient = first * (
                np.bincount(row_at, row_power, width) / row_power.sum() - weight_noise / weight_noise.sum()
            )
            gradient += second * (
                input_noise / input_noise.sum() - np.bincount(column_at, column_power, width) / column_power.sum()
            )
            log = log + np.clip(0.125 * width / (1 + step / 10) / (first + second) * gradient, -0.3, 0.3)
    smoothed: FloatArray = (best / np.exp(np.log(best).mean())).astype(np.float32)
    return smoothed


class _Largest:
    """The largest of each row of ``values``, shape ``(n, width)``, when the columns are multiplied with factors.

    Where it is, is looked for in single precision, which decides differently only between values that are as good as
    equal; how large it is, is in double precision.
    """

    def __init__(self, values: Array) -> None:
        self._values = values
        self._rows = np.arange(len(values))
        self._rough = np.ascontiguousarray(values, np.float32)
        self._blocks = blocks(len(values), max(1, BLOCK_VALUES // values.shape[1]))

    def find(self, factors: Array) -> tuple[npt.NDArray[np.intp], Array]:
        """Shapes: ``(width,)`` -> ``(n,)`` twice."""
        at, rough = np.empty(len(self._rows), np.intp), factors.astype(np.float32)
        for rows in self._blocks:
            (self._rough[rows] * rough).argmax(axis=1, out=at[rows])
        return at, self._values[self._rows, at] * factors[at]


def _row_scales(rows: _Largest, lowest: Array, smoothing: Array, zero_point: int) -> tuple[npt.NDArray[np.intp], Array]:
    """The channel that sets each row's scale, and 127 times that scale; ``lowest`` is each channel's min."""
    at, scale = rows.find(1 / smoothing)
    if zero_point == CENTRE:
        return at, scale
    # Rows that hold small values only have the scale that the min of all needs below the zero point.
    scale = scale * (127 / (255 - zero_point))
    floor = -float(lowest.min()) * 127 / zero_point
    return np.where(scale < floor, lowest.argmin(), at), np.maximum(scale, floor)


def _at_least(values: Array, share: float) -> Array:
    raised: Array = np.maximum(values, max(share * float(values.max()), 1e-12))
    return raised
