"""What callers pass, checked once: texts of any iterable as plain ``str``, whole numbers, names."""

import itertools
import operator
from collections.abc import Iterable, Iterator, Mapping, Sequence

from embedge.errors import InputError

# Iterables, but of characters, of bytes, of keys, or in no order.
_NO_LISTS = (str, bytes, bytearray, memoryview, Mapping, set, frozenset)


def plain_texts(texts: Iterable[str]) -> Iterator[str]:
    """The members of any iterable as plain ``str``: of a list, an array, a pandas Series, an Arrow column, a generator.

    The argument itself is checked at the call, its members one by one. A scalar of Arrow gives its value. An instance
    of a subclass gives the plain text it holds, so that none of its methods decides what is embedded.

    Raises:
        TypeError: not an iterable of texts, but one ``str``, ``bytes``, a mapping, a set, a table or a matrix.
        InputError: while iterating, a member that is not a ``str``, with its index.
    """
    if isinstance(texts, str):
        raise TypeError("a list of texts is needed, not one str: pass [text], or use embed_query for a query")
    # The shape of arrays and tables; iterating over some tables gives the names of their columns.
    shape = getattr(texts, "shape", None)
    if isinstance(shape, tuple) and len(shape) != 1:
        raise TypeError(f"texts is {type(texts).__name__} of shape {shape}: pass one column, of shape (n,)")
    return map(_plain, _members("texts", texts, "str"), itertools.count())


def plain_pairs(pairs: Iterable[tuple[str, str]]) -> Iterator[tuple[str, str]]:
    """The members of any iterable of pairs of texts as plain ``str``.

    Raises:
        TypeError: not an iterable of pairs, but a ``str``, ``bytes``, a mapping or a set.
        InputError: while iterating, a member that is not two texts, with its index.
    """
    return map(_plain_pair, _members("pairs", pairs, "pairs of texts"), itertools.count())


def _members(name: str, value: Iterable[object], what: str) -> Iterator[object]:
    """An iterator over the argument ``name``; ``TypeError`` unless it is an iterable of ``what`` in a fixed order."""
    try:
        if not isinstance(value, _NO_LISTS):
            return iter(value)
    except TypeError:
        pass
    raise TypeError(f"{name} is {type(value).__name__}, not a list or another iterable of {what} in a fixed order")


def _plain_pair(pair: object, index: int) -> tuple[str, str]:
    if not isinstance(pair, tuple | list) or len(pair) != 2:
        raise InputError(f"pairs[{index}] is {type(pair).__name__}, not two texts: pass (query, text)")
    return _plain(pair[0], index, "a text of pairs"), _plain(pair[1], index, "a text of pairs")


def _plain(text: object, index: int, list_name: str = "texts") -> str:
    if type(text) is str:
        return text
    if not isinstance(text, str) and hasattr(text, "as_py"):  # a scalar of Arrow
        text = text.as_py()
    if not isinstance(text, str):
        raise InputError(
            f"{list_name}[{index}] is {type(text).__name__}, not str; convert it, and leave out or fill missing values"
        )
    return str.__str__(text)


def check_surrogates(name: str, text: str) -> None:
    """Raise ``InputError`` for a ``text`` that no Unicode encoding has; ``name`` is what the message calls it."""
    try:
        text.encode()
    except UnicodeEncodeError as exc:
        raise InputError(
            f"{name} has half of a surrogate pair at character {exc.start} ({text[exc.start]!a}); "
            "decode it with errors='replace', or join the halves: "
            "text.encode('utf-16', 'surrogatepass').decode('utf-16')"
        ) from exc


def check_choice(name: str, value: object, choices: Sequence[str]) -> None:
    """Raise ``TypeError`` for a ``value`` that is not a ``str``, and ``ValueError`` for one that is not a choice."""
    if not isinstance(value, str):
        raise TypeError(f"{name}={value!r} is {type(value).__name__}, not str: choose one of {', '.join(choices)}")
    if value not in choices:
        raise ValueError(f"{name}={value!r}: choose one of {', '.join(choices)}")


def whole_number(name: str, value: object) -> int:
    """``value`` as an ``int``, also of a NumPy integer; ``TypeError`` for anything else, ``bool`` too."""
    try:
        if not isinstance(value, bool):
            return operator.index(value)  # type: ignore[arg-type]
    except TypeError:
        pass
    raise TypeError(f"{name}={value!r} is {type(value).__name__}, not int")
