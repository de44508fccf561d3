"""The numbers that int8 is calibrated with are what they are said to be."""

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from embedge_export import export
from embedge_export.quantize import rounding
from embedge_export.quantize.integers import RoundedInputs, round_inputs
from embedge_export.reference import rows
from embedge_export.reference.forward import erf


@given(st.floats(allow_nan=False))
def test_the_error_function_is_right_to_fourteen_digits(x: float) -> None:
    assert erf(np.array([x]))[0] == pytest.approx(math.erf(x), rel=1e-14, abs=1e-300)


def test_the_error_function_of_nan_does_not_fail() -> None:
    assert erf(np.array([math.nan, 0.5]))[1] == pytest.approx(math.erf(0.5))


@pytest.mark.parametrize("largest", [3, 127])
def test_products_of_rounded_inputs_are_those_of_double_precision(largest: int) -> None:
    """With the largest integers single precision is not exact: double has to be taken."""
    random = np.random.default_rng(0)
    codes = np.sign(random.normal(size=(200, 3000))).astype(np.float32) * np.float32(largest)
    inputs = RoundedInputs(codes, random.uniform(0.1, 1, (200, 1)), 0.0)
    weights = (np.sign(random.normal(size=(3000, 5))) * largest).astype(np.int8)
    weights[:, 0] = largest * np.sign(codes[0])
    expected = codes.astype(np.float64) @ weights * inputs.scale
    assert (inputs.times(weights, np.ones(5, np.float32)) == expected).all()
    np.testing.assert_allclose(inputs.mean(100), (codes * inputs.scale)[:100].mean(axis=0), atol=1e-12)


def test_the_covariance_is_that_of_the_rows() -> None:
    """Of 3,000 rows of the largest integers it takes parts; of one scale, it is exact."""
    codes = np.where(np.random.default_rng(0).random((3000, 6)) < 0.9, 223, -32).astype(np.float32)
    found = RoundedInputs(codes, np.full((3000, 1), 0.25), 0.0).covariance()
    np.testing.assert_allclose(found, np.cov(codes * 0.25, rowvar=False, bias=True), rtol=1e-10, atol=1e-9)


@pytest.mark.parametrize(("zero_point", "width"), [(128, 384), (32, 1536)])
def test_rows_are_rounded_to_255_steps_at_most(zero_point: int, width: int) -> None:
    x = np.maximum(np.random.default_rng(0).normal(size=(50, width)), -0.1 if zero_point == 32 else -9)
    rounded = round_inputs(x, np.zeros(width, np.float32), np.ones(width, np.float32), zero_point)
    assert rounded.codes.min() >= -zero_point
    assert rounded.codes.max() == 255 - zero_point
    assert (np.abs(rounded.codes * rounded.scale - x) <= rounded.scale * 0.5001).all()


@pytest.mark.parametrize("size", [1, 7, 128, 300])
def test_the_factor_is_that_of_the_inverse(size: int) -> None:
    a = np.random.default_rng(0).normal(size=(size, 2 * size))
    matrix = a @ a.T
    factor = rounding._inverse_factor(matrix)
    assert (np.tril(factor, -1) == 0).all()
    np.testing.assert_allclose(factor.T @ factor @ matrix, np.eye(size), atol=1e-7)


def test_what_fails_on_a_thread_is_raised(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rows, "_threads", lambda: 2)

    def fail(_: slice) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        rows.by_rows(fail, 10, 10**6)
    rows.by_rows(fail, 0, 8)


def test_an_export_tells_its_layers(make_checkpoint: Callable[..., Path], tmp_path: Path) -> None:
    steps: list[str] = []
    export(make_checkpoint(), tmp_path / "out", on_step=steps.append)
    assert [step for step in steps if step.startswith("quantizing layer")] == [
        f"quantizing layer {n} of 2" for n in (1, 2)
    ]
