"""Cosines and other measures of vectors, in every form that they are handed out in."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from embedge import Embedder, similarity
from tests.damage import reseal


def exact(a: Any, b: Any) -> Any:
    """Cosines in double precision. Shape: ``(n, width)``, ``(m, width)`` -> ``(n, m)``."""
    a, b = np.atleast_2d(a).astype(np.float64), np.atleast_2d(b).astype(np.float64)
    return a @ b.T / np.linalg.norm(a, axis=1)[:, None] / np.linalg.norm(b, axis=1)


@pytest.mark.parametrize("dtype", ["float32", "float16", "int8", "binary"])
@pytest.mark.parametrize("dimensions", [None, 64])
def test_every_form_ranks_as_the_whole_vectors_do(
    model: Embedder, passages: list[str], dtype: Any, dimensions: int | None
) -> None:
    whole = model.embed(passages[:60], dimensions=dimensions)
    vectors = model.embed(passages[:60], dimensions=dimensions, dtype=dtype)
    query = model.embed_query(passages[70], dimensions=dimensions, dtype=dtype)
    cosines = similarity(vectors, vectors)
    assert cosines.dtype == np.float32
    assert cosines.shape == (60, 60)
    assert (np.abs(cosines) <= 1).all()
    np.testing.assert_allclose(np.diag(cosines), 1, atol=2e-6)
    tolerance = {"float32": 1e-6, "float16": 1e-3, "int8": 0.02, "binary": 0.5}[dtype]
    errors = cosines - exact(whole, whole)
    assert np.abs(errors).max() < tolerance
    if dtype == "binary":  # an estimate without a bias
        assert np.abs(errors).mean() < 0.12
        assert abs(errors.mean()) < 0.04
    assert similarity(query, vectors).shape == (1, 60)
    np.testing.assert_array_equal(similarity(vectors, query)[:, 0], similarity(query, vectors)[0])
    np.testing.assert_array_equal(similarity(vectors[3], vectors[4]).shape, (1, 1))


def test_int8_products_do_not_wrap() -> None:
    a, b = np.array([[100, 120]], np.int8), np.array([[100, 120], [-128, -128], [127, 0]], np.int8)
    assert (a @ b.T)[0, 0] != 100 * 100 + 120 * 120
    np.testing.assert_allclose(similarity(a, b), exact(a, b), rtol=1e-6)


def test_binary_vectors_are_estimated_from_their_hamming_distance() -> None:
    a = np.packbits([[1] * 16, [0] * 16, [1] * 8 + [0] * 8, [1] * 12 + [0] * 4], axis=1)
    distances = np.array([0, 16, 8, 4])
    np.testing.assert_allclose(similarity(a[0], a)[0], np.cos(np.pi * distances / 16), atol=1e-6)


def test_lengths_do_not_matter_and_zeros_resemble_nothing() -> None:
    a = np.array([[3.0, 4.0], [0.0, 0.0]])
    np.testing.assert_allclose(similarity(a, [30, 40.0]), [[1], [0]], atol=1e-6)


@pytest.mark.parametrize(
    ("size", "dtype"), [(1e20, np.float32), (1e-30, np.float32), (1e300, np.float64), (6e4, np.float16)]
)
def test_very_long_and_very_short_vectors_have_their_cosines(size: float, dtype: Any) -> None:
    a = np.array([[size, 0], [size, size]], dtype)
    np.testing.assert_allclose(similarity(a, a), [[1, 0.5**0.5], [0.5**0.5, 1]], atol=1e-6)


@pytest.mark.parametrize("measure", ["cosine", "dot"])
def test_int8_vectors_rank_for_a_float_query_as_floats_do(model: Embedder, passages: list[str], measure: Any) -> None:
    query, whole = model.embed_query(passages[9]), model.embed(passages[:8])
    codes = model.embed(passages[:8], dtype="int8")
    assert similarity(query, codes, measure=measure).argmax() == similarity(query, whole, measure=measure).argmax()


@pytest.mark.parametrize("measure", ["euclidean", "manhattan"])
def test_int8_vectors_have_no_distance_from_floats(measure: Any) -> None:
    codes, floats = np.array([[1, 2]], np.int8), np.array([[1, 2]], np.float16)
    for a, b in ((codes, floats), (floats, codes)):
        with pytest.raises(ValueError, match=f"no {measure} distance"):
            similarity(a, b, measure=measure)
    assert similarity(floats, floats.astype(np.float32), measure=measure) == 0


def test_int8_and_floats_may_be_mixed(model: Embedder) -> None:
    whole, codes = model.embed(["a boat", "the sea"]), model.embed(["a boat", "the sea"], dtype="int8")
    np.testing.assert_allclose(similarity(whole, codes), similarity(whole, whole), atol=0.02)


def test_no_vectors_have_no_similarities(model: Embedder) -> None:
    some = model.embed(["a", "b"])
    assert similarity(model.embed([]), some).shape == (0, 2)
    assert similarity(some, model.embed([])).shape == (2, 0)


@pytest.mark.parametrize(
    ("a", "b", "error", "message"),
    [
        (np.zeros((1, 8)), np.zeros((1, 7)), ValueError, "of 8 and 7 numbers"),
        (np.zeros((1, 8)), np.zeros((1, 8), np.uint8), ValueError, r"binary ones only: float64 and uint8"),
        (np.zeros((1, 8), np.uint8), np.zeros((1, 8), np.int8), ValueError, "binary ones only: uint8 and int8"),
        (np.zeros((1, 1, 8)), np.zeros((1, 8)), ValueError, r"shape \(1, 1, 8\)"),
        (np.float32(1), np.zeros(1), ValueError, r"shape \(\)"),
        ([[1, 2]], [[1.0, 2.0]], TypeError, "vectors of int64"),
        (["a"], [1.0], TypeError, "vectors of <U1"),
        (None, [1.0], TypeError, "vectors of object"),
    ],
)
def test_what_can_not_be_compared_is_refused(a: Any, b: Any, error: type[Exception], message: str) -> None:
    for one, other in ((a, b), (b, a)):
        with pytest.raises(error):
            similarity(one, other)
    with pytest.raises(error, match=message):
        similarity(a, b)


@pytest.mark.parametrize(
    ("measure", "expected"),
    [("dot", [[11.0, 0.0]]), ("euclidean", [[-(8**0.5), -(5**0.5)]]), ("manhattan", [[-4.0, -3.0]])],
)
@pytest.mark.parametrize("dtype", [np.float32, np.int8])
def test_other_measures_are_larger_for_what_is_more_alike(measure: Any, expected: Any, dtype: Any) -> None:
    found = similarity(np.array([1, 2], dtype), np.array([[3, 4], [0, 0]], dtype), measure=measure)
    np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_a_measure_that_there_is_not_and_one_that_bits_have_not() -> None:
    with pytest.raises(ValueError, match="measure='jaccard'"):
        similarity([1.0], [1.0], measure="jaccard")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="cosine only"):
        similarity(np.array([1], np.uint8), np.array([1], np.uint8), measure="dot")


def test_a_model_compares_by_its_own_measure(tiny: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(tiny, tmp_path / "copy"))
    reseal(copy, lambda fields: fields.update(similarity="euclidean", normalized=False))
    with Embedder.load(copy) as model:
        vectors = model.embed(["a boat", "the sea"])
        np.testing.assert_array_equal(
            model.similarity(vectors, vectors[0]), similarity(vectors, vectors[0], measure="euclidean")
        )
        bits = model.embed(["a boat", "the sea"], dtype="binary")
        np.testing.assert_array_equal(model.similarity(bits, bits), similarity(bits, bits))
