"""The encoder's parts in numpy, straight from the equations, in double precision.

They are what a freshly written graph is compared with (:mod:`embedge_export.reference.equations`), and what
calibration runs (:mod:`embedge_export.quantize`). They share no code with the graph, so a mistake in one does
not hide in the other.
"""

import itertools
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from embedge_export.encoder import Activation, LayerNorm
from embedge_export.reference.rows import by_rows, each

Array = npt.NDArray[Any]  # float32 or float64

# Multiplications in a product that OpenBLAS still does on the thread that asks for it. With more it wakes its own, and
# those of a hundred thousand small products wait for each other most of the time.
_SMALL_PRODUCT = 2**18

# erf(x) and its derivative at every multiple of 1/1024 from -6 to 6, beyond which erf is 1 in double precision.
_STEPS, _END = 1024, 6
_POINTS = [i / _STEPS for i in range(-_END * _STEPS, _END * _STEPS + 1)]
_ERF = np.array([math.erf(x) for x in _POINTS])
_SLOPE = np.array([2 / math.sqrt(math.pi) * math.exp(-x * x) for x in _POINTS])


def normalize(x: Array, norm: LayerNorm, epsilon: float) -> Array:
    """Layer normalisation (Ba et al. 2016). Shape: ``(tokens, hidden)``."""
    normed = np.empty(x.shape)

    def rows(part: slice) -> None:
        centred = x[part] - x[part].mean(axis=-1, keepdims=True)
        centred /= np.sqrt((centred * centred).mean(axis=-1, keepdims=True) + epsilon)
        centred *= norm.weight
        np.add(centred, norm.bias, out=normed[part])

    by_rows(rows, *x.shape)
    return normed


def attend(qkv: Array, lengths: Sequence[int], heads: int) -> Array:
    """Attention within each text of ``lengths`` tokens. Shape: ``(tokens, 3 * hidden)`` -> ``(tokens, hidden)``."""
    context = np.empty((len(qkv), qkv.shape[1] // 3))
    size = context.shape[1] // heads

    def text(rows: slice) -> None:
        length = rows.stop - rows.start
        q, k, v = qkv[rows].reshape(length, 3, heads, size).transpose(1, 2, 0, 3)
        queries = max(1, _SMALL_PRODUCT // (length * size))
        for start in range(0, length, queries):
            weights = q[:, start : start + queries] @ k.transpose(0, 2, 1)
            weights /= math.sqrt(size)
            weights -= weights.max(axis=-1, keepdims=True)
            np.exp(weights, out=weights)
            weights /= weights.sum(axis=-1, keepdims=True)
            some = context[rows][start : start + queries].reshape(-1, heads, size)
            some[:] = (weights @ v).transpose(1, 0, 2)

    ends = list(itertools.accumulate(lengths))
    each(text, [slice(end - length, end) for end, length in zip(ends, lengths, strict=True)])
    return context


def activate(x: Array, activation: Activation) -> Array:
    """The activation between the two feed-forward matrices."""
    out = np.empty(x.shape)

    def rows(part: slice) -> None:
        values = x[part]
        if activation == "relu":
            np.maximum(values, 0, out=out[part])
            return
        if activation == "gelu_tanh":
            inner = np.tanh(math.sqrt(2 / math.pi) * (values + 0.044715 * values**3))
        else:
            inner = erf(values * math.sqrt(0.5))
        inner += 1
        inner *= values
        np.multiply(inner, 0.5, out=out[part])

    by_rows(rows, *x.shape)
    return out


def erf(x: Array) -> Array:
    """The error function, right to 2e-16; numpy has none.

    The Taylor series to the fourth order around the nearest of ``_POINTS``; with ``p`` that point, ``d = x - p`` and
    ``f`` the derivative there, it is ``erf(p) + f d (1 - p d + (2 p^2 - 1)/3 d^2 - p (2 p^2 - 3)/6 d^3)``. The next
    term is below 1e-17. It takes a table, and additions and multiplications that every CPU does alike.
    """
    x = np.fmin(np.fmax(x, -_END), _END)  # of NaN, an index that exists
    point = np.rint(x * _STEPS)
    at = point.astype(np.intp)
    at += _END * _STEPS
    point /= _STEPS
    d = x - point
    square = 2 * point * point
    series = (square - 3) * point
    series *= d
    series /= -6
    series += (square - 1) / 3
    series *= d
    series -= point
    series *= d
    series += 1
    series *= d
    series *= _SLOPE[at]
    series += _ERF[at]
    result: Array = series
    return result
