"""Calls under way, counted, so that closing can wait for them."""

import contextlib
import threading
from collections.abc import Iterator

from embedge.engine import fork
from embedge.errors import EmbedgeError


class Calls:
    """Any number of threads may be in one at once; a forked child starts with none under way."""

    def __init__(self) -> None:
        self._closed = False
        self.after_fork()
        fork.watch(self)

    @contextlib.contextmanager
    def under_way(self) -> Iterator[bool]:
        """Count a call while it lasts; gives whether it was the only one at its start, a hint for speed.

        Raises:
            EmbedgeError: after :meth:`close`.
        """
        with self._state:
            if self._closed:
                raise EmbedgeError("this Embedder is closed; load it again")
            alone = self._count == 0
            self._count += 1
        try:
            yield alone
        finally:
            with self._state:
                self._count -= 1
                self._state.notify_all()

    def close(self) -> None:
        """Let no further calls begin, and wait for those under way."""
        with self._state:
            self._closed = True
            self._state.wait_for(lambda: self._count == 0)

    def after_fork(self) -> None:
        """Make the lock anew, which a thread that the child lacks may have held, see :mod:`.fork`."""
        self._state = threading.Condition()
        self._count = 0
