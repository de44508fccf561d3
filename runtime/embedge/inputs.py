"""What callers pass, checked once: texts of any iterable as plain ``str``, whole numbers, names."""

import itertools
import operator
from collections.abc import Iterable, Iterator, Mapping

from embedge.errors import InputError

# Iterables, but of characters, of bytes, of keys, or in no order.
_NO_LISTS = (str, bytes, bytearray, memoryview, Mapping, set, frozenset)


def plain_texts(texts: Iterable[str]) -> Iterator[str]:
    """The members of any iterable as plain ``str``: of a list, an array, a pandas Series, an Arrow column, a generator.

    The argument itself is checked at the call, its members one by one. A scalar of Arrow gives its value. An instance
    of a subclass gives the plain text it holds, so that none of its methods decides what is embedded.

    Raises:
        TypeError: not an iterable of texts, but one ``str``, ``bytes``, a mapping or a set.
        InputError: a table or a matrix; while iterating, a member that is not a ``str``, with its index.
    """
    if isinstance(texts, str):
        raise TypeError("a list of texts is needed, not one str: pass [text], or use embed_query for a query")
    # The shape of arrays and tables; iterating over some tables gives the names of their columns.
    shape = getattr(texts, "shape", None)
    if isinstance(shape, tuple) and len(shape) != 1:
        raise InputError(f"texts is {type(texts).__name__} of shape {shape}: pass one column, of shape (n,)")
    try:
        members = None if isinstance(texts, _NO_LISTS) else iter(texts)
    except TypeError:
        members = None
    if members is None:
        raise TypeError(f"texts is {type(texts).__name__}, not a list or another iterable of str in a fixed order")
    return map(_plain, members, itertools.count())


def _plain(text: object, index: int) -> str:
    if type(text) is str:
        return text
    if not isinstance(text, str) and hasattr(text, "as_py"):  # a scalar of Arrow
        text = text.as_py()
    if not isinstance(text, str):
        raise InputError(
            f"texts[{index}] is {type(text).__name__}, not str; convert it, and leave out or fill missing values"
        )
    return str.__str__(text)


def whole_number(name: str, value: object) -> int:
    """``value`` as an ``int``, also of a NumPy integer; ``TypeError`` for anything else, ``bool`` too."""
    try:
        if not isinstance(value, bool):
            return operator.index(value)  # type: ignore[arg-type]
    except TypeError:
        pass
    raise TypeError(f"{name}={value!r} is {type(value).__name__}, not int")
