"""Work on several threads: the calling one, and helpers that last as long as there is work.

A helper is started in 30 microseconds, so none are kept: nothing has to be ended, forked or found busy with another
caller's work. A caller does its share itself, and all of it where threads can't be started: under a limit of
processes, or when the interpreter ends.
"""

import _thread
import contextlib
import threading
from collections import deque
from collections.abc import Callable, Iterable
from typing import TypeVar

from embedge.engine import fork

_T = TypeVar("_T")
_Item = TypeVar("_Item")

# How long Ctrl-C can keep a thread from learning that it is its turn.
_LOOK_S = 0.05


class Slots:
    """Lets at most ``count`` threads work at once, in the order in which they come.

    Unlike a ``threading.Semaphore`` it loses no slot when Ctrl-C raises between two of its steps: the slots taken are
    those of the threads that stand first in line, and leaving the line is one step.
    """

    def __init__(self, count: int) -> None:
        self._count = count
        self._line: dict[threading.Lock, None] = {}
        fork.watch(self)

    def run(self, work: Callable[[], _T]) -> _T:
        """``work()``, when it is its turn."""
        turn = threading.Lock()
        turn.acquire()
        try:
            self._line[turn] = None
            while turn not in self._first():
                turn.acquire(timeout=_LOOK_S)
            return work()
        finally:
            self._line.pop(turn, None)
            for other in self._first():
                # Those whose turn it was already may hold theirs or not.
                with contextlib.suppress(RuntimeError):
                    other.release()

    def _first(self) -> list[threading.Lock]:
        return list(self._line)[: self._count]

    def after_fork(self) -> None:
        """Those in line are the parent's threads, see :mod:`.fork`."""
        self._line = {}


def share(items: Iterable[_Item], work: Callable[[_Item], None], *, helpers: int) -> None:
    """``work(item)`` for each of ``items``, begun in their order, on this thread and up to ``helpers`` others.

    What one of them raises is raised here, and so is Ctrl-C; items that were not begun then are left.
    """
    from queue import SimpleQueue  # takes 1 ms, which a start with one query does without

    items = list(items)
    waiting = iter(items)  # one for all threads: each takes the next item
    finished: SimpleQueue[BaseException | None] = SimpleQueue()

    def help_out() -> None:
        for item in waiting:
            try:
                work(item)
            except BaseException as exc:
                finished.put(exc)
                return
            finished.put(None)

    done = 0
    try:
        for _ in items[1 : 1 + helpers]:
            try:
                _thread.start_new_thread(help_out, ())
            except RuntimeError:  # there may be no more of them
                break
        for item in waiting:
            work(item)
            done += 1
        while done < len(items):
            error = finished.get()
            if error is not None:
                raise error
            done += 1
    finally:
        deque(waiting, maxlen=0)  # takes what is left, so that no helper begins it
