"""Calls under way, known exactly, so that closing can wait for them.

A set of tokens, one for each call, instead of a count and a lock: Ctrl-C may raise between any two steps of a call, and
adding or removing a token is one step. So no token is ever left behind that :meth:`Calls.close` would wait for.
"""

import threading
import time
from collections.abc import Callable
from typing import TypeVar

from embedge.engine import fork
from embedge.errors import EmbedgeError

_T = TypeVar("_T")

# Closing looks this often whether the calls have ended.
_LOOK_S = 0.002


class Closed(EmbedgeError):
    """A call began after :meth:`Calls.close`."""


class Calls:
    """Any number of threads may be in one at once, and a call may hold others."""

    def __init__(self, closed: str, release: Callable[[], None], *, error: type[Closed] = Closed) -> None:
        """``closed`` is the message of the ``error`` for calls that come too late.

        ``release`` runs when the last call has ended. It may run several times, also at once on several threads.
        """
        self._message = closed
        self._error = error
        self._release = release
        self._closed = False
        self._under_way: set[tuple[int, object]] = set()
        fork.watch(self)

    def run(self, work: Callable[[], _T]) -> _T:
        """``work()``, as a call that :meth:`close` waits for.

        Raises:
            Closed: after :meth:`close`, unless it is part of a call under way.
        """
        token = (threading.get_ident(), object())
        inner = self._inside()
        try:
            self._under_way.add(token)
            # Closing looks for tokens after it has set this, so one of the two sees the other.
            if self._closed and not inner:
                raise self._error(self._message)
            return work()
        finally:
            try:
                self._under_way.discard(token)  # nothing can be interrupted before it, not even by Ctrl-C
            finally:
                self._release_if_last()

    def others(self) -> bool:
        """Whether another thread has a call under way."""
        thread = threading.get_ident()
        return any(other != thread for other, _ in self._under_way.copy())

    def close(self) -> None:
        """Let no further calls begin, and wait for those of other threads.

        Within a call, as in a signal handler that interrupts one, it does not wait: the others may wait for what this
        one holds. The last call to end releases then.
        """
        self._closed = True
        while self.others() and not self._inside():
            time.sleep(_LOOK_S)
        self._release_if_last()

    def _inside(self) -> bool:
        """Whether the calling thread has a call under way."""
        thread = threading.get_ident()
        return any(other == thread for other, _ in self._under_way.copy())

    def _release_if_last(self) -> None:
        if self._closed and not self._under_way:
            try:
                self._release()
            except BaseException:  # Ctrl-C, and nobody may come to do the rest
                self._release()
                raise

    def after_fork(self) -> None:
        """The calls of other threads do not go on in a forked child, see :mod:`.fork`."""
        thread = threading.get_ident()
        self._under_way = {token for token in self._under_way if token[0] == thread}
