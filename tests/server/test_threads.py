"""Threads for long texts: so many at once, and nothing is kept of those whose callers went away."""

import asyncio
import gc
import threading
import weakref
from collections.abc import Awaitable, Callable
from typing import TypeVar

import pytest

from embedge.requests import Refused
from embedge.server.threads import THREADS, Threads

_T = TypeVar("_T")
LONG = 1_000_000


class Text:
    """What a caller holds on to."""


def in_loop(work: Callable[[Threads], Awaitable[_T]], *, max_wait_s: float = 60) -> _T:
    async def main() -> _T:
        threads = Threads(max_wait_s=max_wait_s, overloaded=lambda message: Refused("overloaded", message))
        try:
            return await asyncio.wait_for(work(threads), 20)
        finally:
            threads.close()

    return asyncio.run(main())


def test_short_texts_need_no_thread() -> None:
    async def work(threads: Threads) -> None:
        assert await threads.run(1, threading.current_thread) is threading.current_thread()
        assert await threads.run(LONG, threading.current_thread) is not threading.current_thread()

    in_loop(work)


def test_an_error_reaches_the_caller_and_the_thread_is_free() -> None:
    async def work(threads: Threads) -> None:
        for _ in range(2 * THREADS):
            with pytest.raises(ZeroDivisionError):
                await threads.run(LONG, lambda: 1 // 0)

    in_loop(work)


def test_what_waits_too_long_for_a_thread_is_refused() -> None:
    async def work(threads: Threads) -> None:
        gate = threading.Event()
        busy = [asyncio.create_task(threads.run(LONG, gate.wait)) for _ in range(THREADS)]
        await asyncio.sleep(0)
        with pytest.raises(Refused, match="turn"):
            await threads.run(LONG, gate.wait)
        gate.set()
        assert all(await asyncio.gather(*busy))
        assert await threads.run(LONG, gate.wait)

    in_loop(work, max_wait_s=0.1)


def test_texts_of_callers_that_went_away_are_let_go() -> None:
    """However many there are, and although the threads are busy with those of others that went away."""

    async def work(threads: Threads) -> None:
        gate = threading.Event()
        kept: list[weakref.ref[Text]] = []

        def on(text: Text) -> Callable[[], bool]:
            return lambda: gate.wait(20) and text is not None

        for _ in range(5):
            texts = [Text() for _ in range(2 * THREADS)]
            kept += map(weakref.ref, texts)
            gone = [asyncio.create_task(threads.run(LONG, on(text))) for text in texts]
            del texts
            await asyncio.sleep(0.01)
            for task in gone:
                task.cancel()
            await asyncio.gather(*gone, return_exceptions=True)
            del gone, task
        await asyncio.sleep(0.01)
        gc.collect()
        assert sum(text() is not None for text in kept) <= THREADS
        gate.set()
        assert await threads.run(LONG, gate.wait)

    in_loop(work)
