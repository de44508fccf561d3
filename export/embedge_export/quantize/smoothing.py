"""Which channels of a matrix's input to shrink before it is rounded, and its weights to grow by as much.

SmoothQuant (Xiao et al. 2022) moves the difficulty of rounding from activations with a few large channels to the
weights by a rule with one exponent. Here the factors are optimised instead, one for each channel, by the noise power
that rounding both sides leaves in the product: on MiniLM the activations' share of the error falls to a fifth of what
the best exponent leaves.
"""

import numpy as np
import numpy.typing as npt

from embedge_export.encoder import CENTRE, FloatArray
from embedge_export.reference.forward import Array

_STEPS = 80
_START_EXPONENT = 0.7


def find_smoothing(x: Array, weight: Array, zero_point: int, kappa: float) -> FloatArray:
    """Factors to divide the channels of ``x`` by, with a geometric mean of 1. Shapes: ``(n, in)``, ``(in, out)``.

    Minimises by multiplicative steps::

        mean_t(row_scale_t^2) * sum_j(s_j^2 |W_j|^2)  +  kappa * sum_o(column_scale_o^2) * sum_j(var_j / s_j^2)

    the noise of rounding the rows of ``x / s`` and of the columns of ``s W``, up to a common constant. ``zero_point``
    128 means rows scaled by their largest magnitude, another one rows scaled by their largest value above it.
    """
    rows, columns = np.arange(len(x)), np.arange(weight.shape[1])
    width = x.shape[1]
    # Channels that calibration never excites get a small floor instead of a zero.
    largest = _at_least(np.abs(x).max(axis=0), 1e-3)
    norm = _at_least(np.sqrt((weight * weight).sum(axis=1)), 1e-3)
    variance = _at_least(x.var(axis=0), 1e-6)
    magnitude = np.abs(weight)
    log = _START_EXPONENT * np.log(largest) - (1 - _START_EXPONENT) * np.log(norm)
    best, best_cost = np.exp(log), np.inf
    for step in range(_STEPS):
        smoothing = np.exp(log)
        row_at, row_scale = _row_scales(x / smoothing, rows, zero_point)
        grown = magnitude * smoothing[:, None]
        column_at = grown.argmax(axis=0)
        row_power = row_scale**2
        column_power = grown[column_at, columns] ** 2
        weight_noise, input_noise = (smoothing * norm) ** 2, variance / smoothing**2
        first = float(row_power.mean() * weight_noise.sum())
        second = kappa * float(column_power.sum() * input_noise.sum())
        if not (first > 0 and second > 0 and first + second < np.inf):
            break  # nothing to trade: the inputs or the weights are all zero
        if first + second < best_cost:
            best, best_cost = np.exp(log), first + second
        # The gradient in log(s): shrink a channel where it sets rows' scales, grow it where it sets columns'.
        gradient = first * (np.bincount(row_at, row_power, width) / row_power.sum() - weight_noise / weight_noise.sum())
        gradient += second * (
            input_noise / input_noise.sum() - np.bincount(column_at, column_power, width) / column_power.sum()
        )
        log = log + np.clip(0.125 * width / (1 + step / 10) / (first + second) * gradient, -0.3, 0.3)
    smoothed: FloatArray = (best / np.exp(np.log(best).mean())).astype(np.float32)
    return smoothed


def _row_scales(x: Array, rows: npt.NDArray[np.intp], zero_point: int) -> tuple[npt.NDArray[np.intp], Array]:
    """The channel that sets each row's scale, and 127 times that scale."""
    if zero_point == CENTRE:
        magnitude = np.abs(x)
        at = magnitude.argmax(axis=1)
        return at, magnitude[rows, at]
    at = x.argmax(axis=1)
    scale = x[rows, at] * (127 / (255 - zero_point))
    floor = -x.min() * 127 / zero_point
    return np.where(scale < floor, x.min(axis=0).argmin(), at), np.maximum(scale, floor)


def _at_least(values: Array, share: float) -> Array:
    raised: Array = np.maximum(values, max(share * float(values.max()), 1e-12))
    return raised
