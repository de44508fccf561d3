"""The end of the interpreter, which must not find a thread within C++ or Rust.

The interpreter ends daemon threads where they next want to run Python code. One that comes back from ONNX Runtime or
tokenizers then is unwound through their frames, which aborts the process. So the end waits for what these are doing,
a run of some milliseconds each, and daemon threads begin nothing more. The main thread goes on: programs embed in
``atexit``, too.
"""

import atexit
import threading
import time
from collections.abc import Callable
from typing import TypeVar

from embedge.engine.calls import Calls, Closed

_T = TypeVar("_T")

# How long a daemon thread is held before it gets an error. The interpreter is gone by then, and the thread with it,
# unless the program waits for the thread.
_HELD_S = 5.0


class _Ended(Closed):
    """Beside the one for a closed Embedder, which is raised at once."""


_calls = Calls("the interpreter is ending, and only its main thread may embed now", release=lambda: None, error=_Ended)
_ending: int | None = None


def native(work: Callable[[], _T]) -> _T:
    """``work()``, which spends its time in C++ or Rust; not begun by daemon threads when the interpreter ends.

    Raises:
        EmbedgeError: in a daemon thread that somebody waits for while the interpreter ends.
    """
    if _ending == threading.get_ident():
        return work()
    try:
        return _calls.run(work)
    except _Ended:
        time.sleep(_HELD_S)
        raise


def ending() -> bool:
    """Whether the interpreter ends, so that only the calling thread may go on, and others can't help it."""
    return _ending is not None


@atexit.register
def _end() -> None:
    global _ending
    _ending = threading.get_ident()
    _calls.close()
