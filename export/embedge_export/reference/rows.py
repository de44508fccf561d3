"""Pieces of work that do not need each other, in parallel: numpy lets other threads run while it computes."""

import functools
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from embedge.engine.cpus import cpu_budget

_Piece = TypeVar("_Piece")

# Values of a block of rows: 128 kB of float64, of which a few intermediate results stay in a core's cache.
BLOCK_VALUES = 16384


def each(work: Callable[[_Piece], None], pieces: Sequence[_Piece]) -> None:
    """Do all ``pieces``, on as many threads as the process has CPUs; raises what the first that fails raises."""
    threads = max(1, min(_threads(), len(pieces)))

    def share(number: int) -> None:
        for piece in pieces[number::threads]:
            work(piece)

    if threads == 1:
        share(0)
        return
    with ThreadPoolExecutor(threads) as pool:
        for _ in pool.map(share, range(threads)):
            pass


def by_rows(work: Callable[[slice], None], rows: int, width: int) -> None:
    """Do ``rows`` rows of ``width`` values, a block that fits in the cache at a time."""
    each(work, blocks(rows, max(1, BLOCK_VALUES // width)))


def blocks(rows: int, size: int) -> list[slice]:
    """The rows, ``size`` at a time."""
    return [slice(start, min(start + size, rows)) for start in range(0, rows, size)]


@functools.cache
def _threads() -> int:
    return cpu_budget().threads
