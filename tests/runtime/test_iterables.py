"""Texts come in whatever people keep them in, and are embedded as the plain text they hold."""

import enum
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pandas
import pyarrow
import pytest

from embedge import Embedder, InputError
from embedge.inputs import plain_texts

TEXTS = ["a boat", "", "東京 🚀", "the harbour is closed in winter"]


class ByIndex:
    """The older protocol of iteration."""

    def __getitem__(self, index: int) -> str:
        return TEXTS[index]


KINDS: dict[str, Callable[[], Any]] = {
    "tuple": lambda: tuple(TEXTS),
    "generator": lambda: (text for text in TEXTS),
    "map": lambda: map(str, TEXTS),
    "deque": lambda: deque(TEXTS),
    "values of a dictionary": dict(enumerate(TEXTS)).values,
    "keys of a dictionary": dict.fromkeys(TEXTS).keys,
    "by index": ByIndex,
    "array of str": lambda: np.array(TEXTS),
    "array of objects": lambda: np.array(TEXTS, object),
    "view with steps": lambda: np.array([text for text in TEXTS for _ in range(2)])[::2],
    "Series": lambda: pandas.Series(TEXTS, index=[5, 5, 0, 1]),
    "Series of objects": lambda: pandas.Series(TEXTS, dtype=object),
    "Series of str": lambda: pandas.Series(TEXTS, dtype="string"),
    "Series in Arrow": lambda: pandas.Series(TEXTS, dtype=pandas.ArrowDtype(pyarrow.string())),
    "categories": lambda: pandas.Series(TEXTS, dtype="category"),
    "Index": lambda: pandas.Index(TEXTS),
    "Arrow array": lambda: pyarrow.array(TEXTS),
    "large Arrow array": lambda: pyarrow.array(TEXTS, pyarrow.large_string()),
    "Arrow dictionary": lambda: pyarrow.array(TEXTS).dictionary_encode(),
    "chunked Arrow array": lambda: pyarrow.chunked_array([TEXTS[:1], [], TEXTS[1:]]),
    "column of an Arrow table": lambda: pyarrow.table({"text": TEXTS})["text"],
    "list of Arrow scalars": lambda: list(pyarrow.array(TEXTS)),
}


@pytest.mark.parametrize("kind", KINDS)
def test_any_iterable_of_texts_is_as_good_as_a_list(model: Embedder, kind: str) -> None:
    expected = model.embed(TEXTS)
    assert np.array_equal(model.embed(KINDS[kind]()), expected)
    assert np.array_equal(np.stack(list(model.embed_iter(KINDS[kind]()))), expected)
    assert np.array_equal(model.embed_queries(KINDS[kind]()), expected)
    assert model.count_tokens(KINDS[kind]()) == model.count_tokens(TEXTS)


MISSING: dict[str, Callable[[], Any]] = {
    "array": lambda: np.array(["a", "b", None], object),
    "array with NaN": lambda: np.array(["a", "b", np.nan], object),
    "Series": lambda: pandas.Series(["a", "b", None]),
    "Series with NaN": lambda: pandas.Series(["a", "b", np.nan], dtype=object),
    "Series with NA": lambda: pandas.Series(["a", "b", pandas.NA], dtype="string"),
    "Series with NaT": lambda: pandas.Series(["a", "b", pandas.NaT], dtype=object),
    "Series with an int": lambda: pandas.Series(["a", "b", 3], dtype=object),
    "categories": lambda: pandas.Series(["a", "b", None], dtype="category"),
    "Arrow array": lambda: pyarrow.array(["a", "b", None]),
    "chunked Arrow array": lambda: pyarrow.chunked_array([["a"], ["b"], [None, "c"]]),
}


@pytest.mark.parametrize("kind", MISSING)
def test_a_missing_value_is_named_by_its_place(model: Embedder, kind: str) -> None:
    def iterate(texts: Any) -> object:
        return list(model.embed_iter(texts))

    for call in (model.embed, model.embed_queries, model.count_tokens, iterate):
        with pytest.raises(InputError, match=r"texts\[2\] is \w+, not str; .*leave out or fill missing values"):
            call(MISSING[kind]())


def test_the_place_counts_over_the_chunks_and_windows_of_a_column(model: Embedder) -> None:
    column = pyarrow.chunked_array([["a"] * 700, ["a"] * 600 + [None], ["a"]])
    for call in (model.count_tokens, lambda texts: list(plain_texts(texts))):
        with pytest.raises(InputError, match=r"texts\[1300\] is NoneType"):
            call(column)


@pytest.mark.parametrize(
    "texts",
    [
        np.array([["a", "b"]]),
        np.array("a"),
        np.zeros((0, 3)),
        pandas.DataFrame({"text": ["a"]}),
        pyarrow.table({"text": ["a"]}),
    ],
    ids=lambda texts: type(texts).__name__,
)
def test_a_matrix_or_a_table_is_refused_for_its_shape(model: Embedder, texts: Any) -> None:
    for call in (model.embed, model.embed_queries, model.embed_iter, model.count_tokens):
        with pytest.raises(TypeError, match=r"of shape \(.*\): pass one column"):
            call(texts)


def test_numbers_in_an_array_are_no_texts(model: Embedder) -> None:
    with pytest.raises(InputError, match=r"texts\[0\] is float64, not str"):
        model.embed(np.zeros(3))
    with pytest.raises(InputError, match=r"texts\[0\] is int, not str"):
        model.embed(pyarrow.array([1, 2]))


class Hostile(str):
    """Text that answers with another one wherever Python asks it."""

    def __str__(self) -> str:
        return "other"

    def __add__(self, other: str) -> str:
        return "other"

    def __radd__(self, other: str) -> str:
        return "other"

    def __getitem__(self, index: object) -> str:
        return "other"

    def __len__(self) -> int:
        return 5

    def __iter__(self) -> Iterator[str]:
        return iter("other")


class Colour(enum.StrEnum):
    RED = "red"


def test_a_subclass_of_str_is_embedded_as_the_text_it_holds(model: Embedder) -> None:
    long = "the harbour is closed; " * 2000
    assert model.count_tokens([Hostile(long), Colour.RED]) == model.count_tokens([long, "red"])
    assert {type(text) for text in plain_texts([Hostile("a"), Colour.RED, np.str_("b")])} == {str}
    expected = model.embed(["x: a boat", "x: red"])
    assert np.array_equal(model.embed([Hostile("a boat"), Colour.RED], prompt="x: "), expected)
    assert np.array_equal(model.embed(["a boat", "red"], prompt=Hostile("x: ")), expected)
    assert np.array_equal(np.stack(list(model.embed_iter([Hostile("a boat"), Colour.RED], prompt="x: "))), expected)
    assert np.array_equal(model.embed_query(Hostile("a boat")), model.embed_query("a boat"))
