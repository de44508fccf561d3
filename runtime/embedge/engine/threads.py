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


class Helpers:
    """Up to ``count`` threads at once that help callers with their work, whatever the number of callers."""

    def __init__(self, count: int) -> None:
        self._count = count
        self._busy: set[threading.Lock] = set()
        fork.watch(self)

    def share(self, items: Iterable[_Item], work: Callable[[_Item], None], *, alone: bool = False) -> None:
        """``work(item)`` for each of ``items``, begun in their order, on this thread and free helpers unless ``alone``.

        What one of them raises is raised here, and so is Ctrl-C; items that were not begun then are left, and those
        under way are waited for, until a second Ctrl-C. A child that a signal handler forks must not return here: its
        helpers are gone.
        """
        waiting = deque(items)
        held: list[threading.Lock] = []  # by helpers that have begun
        errors: list[BaseException] = []

        def take() -> None:
            while True:
                try:
                    item = waiting.popleft()
                except IndexError:
                    return
                work(item)

        def help_out(lock: threading.Lock) -> None:
            lock.acquire()
            held.append(lock)
            try:
                take()
            except BaseException as exc:
                errors.append(exc)
                waiting.clear()
            finally:
                self._busy.discard(lock)
                lock.release()

        try:
            for _ in range(0 if alone else len(waiting) - 1):
                if not self._start(help_out):
                    break
            take()
        finally:
            # A helper that begins after this finds nothing to do.
            waiting.clear()
            for lock in held:
                lock.acquire()
        if errors:
            raise errors[0]

    def _start(self, help_out: Callable[[threading.Lock], None]) -> bool:
        """Whether another helper could be started."""
        lock = threading.Lock()
        started = False
        try:
            self._busy.add(lock)
            if len(self._busy) <= self._count:
                _thread.start_new_thread(help_out, (lock,))
                started = True
        except RuntimeError:  # there may be no more threads
            pass
        finally:
            if not started:
                self._busy.discard(lock)
        return started

    def after_fork(self) -> None:
        """The helpers are the parent's threads, see :mod:`.fork`."""
        self._busy = set()
