"""What to do in a forked child, which has a copy of every lock and session but none of the parent's other threads."""

import os
import weakref
from collections.abc import Callable
from typing import TypeVar

_T = TypeVar("_T")


def after_fork(owner: _T, action: Callable[[_T], None]) -> None:
    """Call ``action(owner)`` in every forked child for as long as ``owner`` lives."""
    if not hasattr(os, "register_at_fork"):  # Windows has no fork
        return
    reference = weakref.ref(owner)

    def call() -> None:
        alive = reference()
        if alive is not None:
            action(alive)

    os.register_at_fork(after_in_child=call)
