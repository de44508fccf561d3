"""Every instruction set gives the bits of docs/kernels.md, and these are near to what double precision gives.

``isa_scalar.cpp`` is that page in plain C++. The comparison with double precision shows where all are wrong together.
"""

import hashlib
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from embedge_export.encoder import POOLINGS, Activation, Pooling
from tests.kernels.layers import EPSILONS, RandomLayer, compute, normalise
from tests.kernels.operators import Array, Arrays, available, offsets_of, run_alike

# Hidden sizes and heads; heads are of 4, 8, 24, 32, 48, 64 and 96 numbers, so with and without a part of a vector.
SHAPES = [(32, 8), (32, 4), (96, 4), (64, 2), (96, 2), (96, 1), (384, 6), (384, 12)]
lengths = st.lists(st.integers(1, 130), min_size=1, max_size=4)
seeds = st.integers(0, 2**32 - 2)

KEPT: dict[Activation, str] = {"gelu": "9bfafc8a20b9031f", "gelu_tanh": "2f4a9b4350399a13", "relu": "53074a3ef810a6a6"}


@pytest.fixture(autouse=True)
def _installed() -> None:
    available()


@st.composite
def layers(draw: st.DrawFn) -> RandomLayer:
    hidden, heads = draw(st.sampled_from(SHAPES))
    inner = 32 * draw(st.integers(1, 48 if hidden < 384 else 12))
    activation = draw(st.sampled_from(list(KEPT)))
    epsilon = draw(st.sampled_from(EPSILONS))
    return RandomLayer(hidden, heads, inner, activation, draw(st.booleans()), draw(seeds), epsilon=epsilon)


@settings(max_examples=25, deadline=None)
@given(layers(), lengths, st.integers(1, 5))
def test_a_layer(layer: RandomLayer, lengths: list[int], spread: int) -> None:
    """The bits of one thread are those of several."""
    inputs = layer.inputs(lengths, spread)
    out = run_alike("EncoderLayer", inputs, layer.constants(), layer.attributes, threads=2)
    expected = compute(layer, inputs, lengths)
    # A number next to a half may become the other code, which moves a text's rows by some thousandths.
    assert (out * expected).sum() / np.linalg.norm(out) / np.linalg.norm(expected) > 0.9999


@pytest.mark.parametrize(("activation", "error"), [("gelu", 3e-5), ("gelu_tanh", 2e-6), ("relu", 2e-6)])
def test_small_layers(activation: Activation, error: float) -> None:
    """They have so few codes that none of them tips in most layers, so that all else shows."""
    differences = []
    for seed in range(20):
        layer = RandomLayer(32, 4, 32, activation, seed=seed)
        inputs = layer.inputs([2])
        out = run_alike("EncoderLayer", inputs, layer.constants(), layer.attributes)
        differences.append(abs(out - compute(layer, inputs, [2])).max())
    assert np.median(differences) < error
    assert max(differences) < 0.05


@pytest.mark.parametrize(("hidden", "heads"), SHAPES)
def test_tokens_that_are_all_alike(hidden: int, heads: int) -> None:
    """Scores, and sums of weights by values, are as large as they get."""
    layer = RandomLayer(hidden, heads, 32)
    inputs = layer.inputs([200], kind="equal")
    out = run_alike("EncoderLayer", inputs, layer.constants(), layer.attributes)
    np.testing.assert_allclose(out, compute(layer, inputs, [200]), rtol=0, atol=1e-4)


@settings(max_examples=25, deadline=None)
@given(
    layers(), lengths,
    st.sampled_from([0.0, 1e-40, 1e-20, 1e-3, 1e3, 1e10, 1e30, 3e38]), st.sampled_from([1e-30, 1.0, 1e4, 1e30]),
    st.sampled_from(["normal", "zeros", "constant", "ragged"]),
)  # fmt: skip
def test_a_layer_of_extreme_numbers(
    layer: RandomLayer, lengths: list[int], size: float, weights: float, kind: str
) -> None:
    """Overflows, rows of zeros and numbers that are nearly zero: the same bits, and NaN in the same places."""
    extreme = replace(layer, weights=weights)
    with np.errstate(over="ignore"):
        inputs = extreme.inputs(lengths, size=size, kind=kind)
    run_alike("EncoderLayer", inputs, extreme.constants(), layer.attributes)


@settings(max_examples=25, deadline=None)
@given(st.lists(st.integers(1, 30), min_size=1, max_size=5), st.sampled_from([32, 64, 96, 384]), st.booleans(),
       st.booleans(), st.sampled_from(EPSILONS), seeds)  # fmt: skip
def test_embeddings(lengths: list[int], hidden: int, counted: bool, paired: bool, epsilon: float, seed: int) -> None:
    random = np.random.default_rng(seed)
    vocabulary, tokens, pad = 50, sum(lengths), 3
    ids = random.integers(0, vocabulary * (1 + paired), tokens)
    words = random.integers(-128, 128, (vocabulary, hidden)).astype(np.int8)
    scales = random.uniform(0.001, 0.1, (vocabulary, 1)).astype(np.float32)
    table = random.normal(0, 1, (31, hidden)).astype(np.float32)
    second = random.normal(0, 1, hidden).astype(np.float32)
    inputs = {"input_ids": ids, "offsets": offsets_of(lengths)}
    constants: Arrays = {
        "words": words,
        "word_scales": scales,
        "positions": table,
        "second": second if paired else None,
    }
    attributes = {"epsilon": epsilon, "pad_id": pad if counted else -1}
    out = run_alike("Embeddings", inputs, constants, attributes)
    places = [np.arange(length) for length in lengths]
    if counted:
        texts = np.split(ids, offsets_of(lengths)[1:-1])
        places = [np.cumsum(text != pad) * (text != pad) for text in texts]
    x = words[ids % vocabulary] * scales[ids % vocabulary].astype(np.float64) + table[np.concatenate(places)]
    x[ids >= vocabulary] += second
    np.testing.assert_allclose(out, normalise(x, epsilon), rtol=0, atol=2e-5)


@settings(max_examples=25, deadline=None)
@given(st.lists(st.integers(1, 60), min_size=1, max_size=5), st.sampled_from([32, 96, 384]),
       st.sampled_from(POOLINGS), st.booleans(), seeds)  # fmt: skip
def test_pooling(lengths: list[int], hidden: int, mode: Pooling, first_only: bool, seed: int) -> None:
    random = np.random.default_rng(seed)
    first_only = first_only and mode == "cls"
    x = random.normal(0, 1, (len(lengths) if first_only else sum(lengths), hidden)).astype(np.float32)
    weight, bias = random.normal(1, 0.3, (2, hidden)).astype(np.float32)
    inputs = {"x": x, "offsets": offsets_of(lengths)}
    constants = {"weight": weight, "bias": bias}
    out = run_alike("Pooling", inputs, constants, {"mode": mode, "first_only": int(first_only)})
    rows = x.astype(np.float64) * weight + bias
    texts = [row[None] for row in rows] if first_only else np.split(rows, offsets_of(lengths)[1:-1])
    np.testing.assert_allclose(out, [pooled(text, mode) for text in texts], rtol=0, atol=2e-5)


def pooled(rows: Array, mode: Pooling) -> Array:
    """A text's vector."""
    number = np.arange(1, len(rows) + 1)
    vector: Array = {
        "cls": rows[0],
        "lasttoken": rows[-1],
        "max": rows.max(axis=0),
        "mean": rows.mean(axis=0),
        "mean_sqrt_len_tokens": rows.sum(axis=0) / len(rows) ** 0.5,
        "weightedmean": number @ rows / number.sum(),
    }[mode]
    return vector


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 5), st.integers(1, 130), st.sampled_from([0.0, 1e-30, 1e-10, 1.0, 1e18]), seeds)
def test_normalize(rows: int, width: int, size: float, seed: int) -> None:
    """Any width; a row of zeros stays."""
    x = (np.random.default_rng(seed).normal(0, 1, (rows, width)) * size).astype(np.float32)
    out = run_alike("Normalize", {"x": x}, {}, {})
    if size == 1e-30:  # squares are 0
        return
    length = np.linalg.norm(x.astype(np.float64), axis=1, keepdims=True)
    np.testing.assert_allclose(out, x / np.where(length > 0, length, 1), rtol=0, atol=1e-6)


@pytest.mark.parametrize("activation", KEPT)
def test_the_bits_are_those_that_were_written_down(activation: Activation) -> None:
    """Where all instruction sets change together, by another compiler or on another machine, only this shows it."""
    layer = RandomLayer(64, 2, 96, activation)
    out = run_alike("EncoderLayer", layer.inputs([1, 20, 43]), layer.constants(), layer.attributes)
    assert hashlib.sha256(out.tobytes()).hexdigest()[:16] == KEPT[activation]
