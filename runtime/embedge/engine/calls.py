"""Calls under way, known exactly, so that closing can wait for them.

A set of tokens, one for each call, instead of a count and a lock: Ctrl-C may raise between any two steps of a call, and
adding or removing a token is one step. So nothing is ever left behind that :meth:`Calls.close` would wait for.
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

    def __init__(self, closed: str, release: Callable[[], None]) -> None:
        """``closed`` is the message for calls that come too late; ``release`` runs when the last one has ended."""
        self._message = closed
        self._release = release
        self._closed = False
        self._under_way: set[tuple[int, object]] = set()
        fork.watch(self)

    def run(self, work: Callable[[], _T]) -> _T:
        """``work()``, as a call that :meth:`close` waits for.

        Raises:
            Closed: after :meth:`close`, unless it is part of a call under way.
        """
        thread = threading.get_ident()
        token = (thread, object())
        inner = any(other == thread for other, _ in self._under_way.copy())
        try:
            self._under_way.add(token)
            # Closing looks for tokens after it has set this, so one of the two sees the other.
            if self._closed and not inner:
                raise Closed(self._message)
            return work()
        finally:
            self._under_way.discard(token)  # nothing can be interrupted before it, not even by Ctrl-C
            if self._closed:
                self._release_when_idle()

    def others(self) -> bool:
        """Whether another thread has a call under way."""
        thread = threading.get_ident()
        return any(other != thread for other, _ in self._under_way.copy())

    def close(self) -> None:
        """Let no further calls begin, and wait for those of other threads.

        In a signal handler, the call that it interrupts goes on afterwards, and releases what it needs at its end.
        """
        self._closed = True
        while self.others():
            time.sleep(_LOOK_S)
        self._release_when_idle()

    def _release_when_idle(self) -> None:
        if not self._under_way:
            self._release()

    def after_fork(self) -> None:
        """The calls of other threads do not go on in a forked child, see :mod:`.fork`."""
        thread = threading.get_ident()
        self._under_way = {token for token in self._under_way if token[0] == thread}
