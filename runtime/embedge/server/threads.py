"""Threads for work on long texts, which would hold the event loop up."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from embedge.requests import Refused

THREADS = 4
"""How many texts or lists of texts are worked on at once. Each takes memory, and tokenizers has threads of its own."""

# Work on fewer characters is done sooner than another thread is woken.
_INLINE_CHARS = 4000

_Result = TypeVar("_Result")


class Threads:
    """See the module. Touched by the event loop alone."""

    def __init__(self, *, max_wait_s: float, overloaded: Callable[[str], Refused]) -> None:
        """``overloaded`` makes the refusal of what waited longer than ``max_wait_s`` for a thread."""
        self._max_wait_s = max_wait_s
        self._overloaded = overloaded
        self._free = asyncio.Semaphore(THREADS)
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="embedge-text")

    async def run(self, chars: int, work: Callable[[], _Result]) -> _Result:
        """What ``work`` on so many characters or tokens gives; here and now if they are few.

        Raises:
            Refused: it waited too long for its turn.
        """
        if chars <= _INLINE_CHARS:
            return work()
        try:
            async with asyncio.timeout(self._max_wait_s):
                await self._free.acquire()
        except TimeoutError as exc:
            raise self._overloaded(f"it waited {self._max_wait_s:g} s for its turn") from exc
        try:
            running = asyncio.get_running_loop().run_in_executor(self._threads, work)
        except RuntimeError:  # no further thread can be started here: a limit of processes
            self._free.release()
            raise
        # A thread can't be stopped. One whose caller went away is free when it ends, and until then no other waits for
        # it with its texts in the pool's own line, where what was cancelled stays.
        running.add_done_callback(lambda _: self._free.release())
        return await asyncio.shield(running)

    def close(self) -> None:
        """End the threads after what they do now."""
        self._threads.shutdown(wait=False)
