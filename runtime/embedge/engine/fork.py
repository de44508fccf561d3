"""What to do in a forked child, which has a copy of every lock and session but none of the parent's other threads."""

import contextlib
import os
import threading
import weakref
from typing import Protocol

NO_CUDA = (
    "this process was forked from one that has used CUDA, where it can't be used: start processes with "
    "multiprocessing's 'spawn' method and load the bundle in each"
)


class Forked(Protocol):
    """Something that a forked child has to make anew."""

    def after_fork(self) -> None:
        """Called in the child."""


held_off = threading.RLock()
"""Held while ONNX Runtime makes a session: it has locks of its own, which a child would find locked.

Closing holds it too. It is not held while a session that was just dropped is destroyed.

A thread that holds it may fork all the same, as a signal handler may.
"""

# A hook can't be taken back, so there is one for all, and it lets what it calls be collected.
_watched: "weakref.WeakSet[Forked]" = weakref.WeakSet()


def watch(owner: Forked) -> None:
    """Call ``owner.after_fork()`` in every forked child for as long as ``owner`` lives."""
    _watched.add(owner)


def _in_child() -> None:
    try:
        held_off.release()
    except RuntimeError:  # a signal handler raised while fork() waited for a thread, which does not exist here
        held_off._at_fork_reinit()  # type: ignore[attr-defined]
    with contextlib.ExitStack() as stack:  # calls all of them, whatever one raises
        for owner in list(_watched):
            stack.callback(owner.after_fork)


if hasattr(os, "register_at_fork"):  # Windows has no fork
    os.register_at_fork(before=held_off.acquire, after_in_parent=held_off.release, after_in_child=_in_child)
