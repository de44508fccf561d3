"""Random layers of an encoder for the operator EncoderLayer, and what they compute, in double precision."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from embedge_export.encoder import Activation
from embedge_export.reference.forward import activate
from tests.kernels.operators import Array, Attributes, offsets_of

# The two that checkpoints have.
EPSILONS = (1e-12, 1e-5)
ZERO_POINT = 32


@dataclass(frozen=True)
class RandomLayer:
    """The sizes of a layer; ``weights`` says how large its numbers are."""

    hidden: int
    heads: int
    inner: int
    activation: Activation = "gelu"
    first_only: bool = False
    seed: int = 0
    weights: float = 1.0
    epsilon: float = EPSILONS[0]

    @property
    def attributes(self) -> Attributes:
        """The operator's, as an exporter would write them."""
        return {
            "heads": self.heads, "activation": self.activation, "epsilon": self.epsilon, "zero_point": ZERO_POINT,
            "smallest_scale": 0.01, "first_only": int(self.first_only),
        }  # fmt: skip

    def constants(self) -> dict[str, Array | None]:
        """The operator's weights, in the order of its inputs."""
        random = np.random.default_rng(self.seed)
        hidden, inner, size = self.hidden, self.inner, self.weights

        def affine(name: str) -> dict[str, Array]:
            return {f"{name}_weight": _floats(random.uniform(0.5, 1.5, hidden) * size),
                    f"{name}_bias": _floats(bell(random, hidden) * 0.3 * size)}  # fmt: skip

        def product(name: str, inputs: int, outputs: int, *, bias: bool = True) -> dict[str, Array]:
            codes = np.clip(np.rint(bell(random, inputs, outputs) * 50), -128, 127).astype(np.int8)
            scales = random.uniform(0.5, 1.5, outputs) * size / 50 / math.sqrt(inputs)
            made = {f"{name}_codes": codes, f"{name}_scales": _floats(scales)}
            return made | ({f"{name}_bias": _floats(bell(random, outputs) * 0.3 * size)} if bias else {})

        made: dict[str, Array | None] = {
            **affine("input"),
            **product("qkv", hidden, hidden if self.first_only else 3 * hidden),
            **product("attention", hidden, hidden, bias=False),
            **affine("residual"),
            **affine("intermediate_input"),
            **product("intermediate", hidden, inner),
            "output_factors": _floats(random.uniform(0.5, 2, inner)),
            **product("output", inner, hidden, bias=False),
            **affine("output_residual"),
        }
        return made | (product("key_value", hidden, 2 * hidden) if self.first_only else {})

    def inputs(
        self, lengths: Sequence[int], spread: int = 1, size: float = 1.0, kind: str = "normal"
    ) -> dict[str, Array | None]:
        """Rows for texts of some lengths: as normalised ones are, or with rows of zeros or of one number among them."""
        random = np.random.default_rng(self.seed + 1)
        x = bell(random, sum(lengths), self.hidden) * size
        if kind == "zeros":
            x[random.random(len(x)) < 0.5] = 0
        if kind == "constant":
            x[:] = x[:, :1]
        if kind == "equal":  # so all codes are the largest ones
            x[:] = x[0]
        if kind == "ragged":  # each number of a range of its own
            x *= 10.0 ** random.integers(-30, 4, x.shape)
        return {"x": _floats(x), "offsets": offsets_of(lengths), "spread": np.array(spread, np.int64)}


def compute(layer: RandomLayer, inputs: dict[str, Array | None], lengths: Sequence[int]) -> Array:
    """The operator's equations with codes as docs/kernels.md has them, and all else in double precision."""
    w: dict[str, Any] = {name: _doubles(array) for name, array in layer.constants().items()}
    x = _doubles(inputs["x"])

    def affine(name: str, rows: Array) -> Array:
        out: Array = rows * w[f"{name}_weight"] + w[f"{name}_bias"]
        return out

    def product(name: str, rows: Array, *, one_sided: bool = False) -> Array:
        zero = ZERO_POINT if one_sided else 128
        top = (rows if one_sided else abs(rows)).max(axis=1, keepdims=True)
        scale = np.maximum(top / (255 - zero), 0.01 if one_sided else 1e-12)
        rows = np.clip(np.rint(rows / scale), -zero, 255 - zero) * scale
        out: Array = rows @ (w[f"{name}_codes"] * w[f"{name}_scales"]) + w.get(f"{name}_bias", 0)
        return out

    read = affine("input", x)
    qkv = product("qkv", read)
    if layer.first_only:
        qkv = np.concatenate([qkv, product("key_value", read)], axis=1)
    context = attend(qkv, lengths, layer.heads)
    if layer.first_only:
        first = offsets_of(lengths)[:-1]
        x, context = x[first], context[first]
    normed = normalise(product("attention", context) + affine("residual", x), layer.epsilon)
    inner = activate(product("intermediate", affine("intermediate_input", normed)), layer.activation)
    inner *= w["output_factors"]
    out = product("output", inner, one_sided=True) + affine("output_residual", normed)
    return normalise(out, layer.epsilon)


def attend(qkv: Array, lengths: Sequence[int], heads: int) -> Array:
    """The contexts of all tokens: 16-bit codes of queries, keys, weights and values."""
    queries, keys, values = (np.stack(np.split(part, heads, axis=1)) for part in np.split(qkv, 3, axis=1))
    size = queries.shape[2]
    limit = int(np.sqrt(np.float32(2**30 - 2**17) / np.float32(size)))
    contexts = []
    for begin, end in pairwise(offsets_of(lengths)):
        key, key_scale = _columns(keys[:, begin:end], limit)
        value, value_scale = _columns(values[:, begin:end], 4095)
        scaled = queries[:, begin:end] * key_scale / math.sqrt(size)
        scale = abs(scaled).max(axis=2, keepdims=True) / limit
        score = np.rint(scaled / scale) @ key.transpose(0, 2, 1)
        weight = _weights((score - score.max(axis=2, keepdims=True)) * scale)
        context = weight @ value / weight.sum(axis=2, keepdims=True) * value_scale
        contexts.append(np.concatenate(list(context), axis=1))
    return np.concatenate(contexts)


def _columns(x: Array, limit: int) -> tuple[Array, Array]:
    """Codes with one scale for each number of a head, and the scales."""
    scale = np.maximum(abs(x).max(axis=1, keepdims=True) / limit, 2.0**-100)
    return np.rint(x / scale), scale


def _weights(x: Array) -> Array:
    """The codes of exp(x), which is near enough to be a cubic within each power of two."""
    x = x / math.log(2)
    r = x - np.rint(x)
    near: Array = 1 + r * (0.6932829 + r * (0.24221095 + r * 0.05500893))
    assert (abs(near - 2**r) < 1.1e-4 * 2**r).all()
    codes: Array = np.rint(2 ** (13 + np.rint(x)) * near)
    return codes


def normalise(x: Array, epsilon: float) -> Array:
    """Rows of mean 0 and variance 1."""
    centred = x - x.mean(axis=1, keepdims=True)
    out: Array = centred / np.sqrt((centred * centred).mean(axis=1, keepdims=True) + epsilon)
    return out


def bell(random: np.random.Generator, *shape: int) -> Array:
    """Numbers of mean 0 and variance 1, the same on every machine, which those of ``Generator.normal`` may not be."""
    x = random.random(shape)
    x += random.random(shape)
    x += random.random(shape)
    out: Array = (x - 1.5) * 2
    return out


def _floats(x: Array) -> Array:
    return x.astype(np.float32)


def _doubles(x: Array | None) -> Array:
    assert x is not None
    return x.astype(np.float64)
