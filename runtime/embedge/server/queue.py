"""Texts of all requests in one bounded queue, run by the engines in turns.

All that is kept here is touched by the event loop alone, so it needs no locks. Up to ``BATCHES`` batches run at once,
on threads of their own. A batch goes to the model's engine, whose scheduler decides what runs together, as for the
library's calls: so a text has the bits that it has there, whatever else is in the batch.

A request that finds the engine free starts at once. What comes while batches run waits and shares the next one. A batch
takes one text of each request in turn, so that a request of one text does not wait for all of a long one.
"""

import asyncio
import functools
import time
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import numpy as np

from embedge.engine import Engine
from embedge.requests import Refused
from embedge.server.metrics import Metrics
from embedge.vectors import FloatArray

BATCHES = 2
"""Batches that run at once, so that one is there when another ends."""


class Job:
    """The texts of one request that are under way."""

    def __init__(self, engine: Engine, ids: Sequence[Sequence[int]], done: "asyncio.Future[FloatArray]") -> None:
        """``ids`` are as :meth:`embedge.engine.Engine.run` takes them; ``done`` gets the vectors or an error."""
        self.engine = engine
        self.ids = ids
        self.done = done
        self.since = time.monotonic()
        self.tokens = sum(map(len, ids))
        self.begun = 0
        """How many texts were given to the engine."""
        self._left = len(ids)
        self._vectors: FloatArray | None = None

    def add(self, index: int, vector: FloatArray) -> None:
        """Keep the vector of text ``index``; with the last one it is done."""
        if self.done.done():  # its caller went away, or another of its texts failed
            return
        if self._vectors is None:
            self._vectors = np.empty((len(self.ids), *vector.shape), vector.dtype)
        self._vectors[index] = vector
        self._left -= 1
        if not self._left:
            self.done.set_result(self._vectors)

    def fail(self, error: Exception) -> None:
        """Give the caller an error, unless it has its answer."""
        if not self.done.done():
            self.done.set_exception(error)


def take_batch(waiting: Sequence[Job]) -> list[tuple[Job, int]]:
    """Texts to run next, as jobs and indices: of the first job's model, one of each job in turn.

    They have at most the model's ``batch_tokens``, or are one text. Counts them as begun.
    """
    budget = waiting[0].engine.batch_tokens
    turns = deque(job for job in waiting if job.engine is waiting[0].engine)
    batch: list[tuple[Job, int]] = []
    while turns:
        job = turns.popleft()
        budget -= len(job.ids[job.begun])
        if batch and budget < 0:
            break
        batch.append((job, job.begun))
        job.begun += 1
        if job.begun < len(job.ids):
            turns.append(job)
    return batch


class Queue:
    """See the module."""

    def __init__(self, *, max_tokens: int, max_wait_s: float, metrics: Metrics) -> None:
        """At most ``max_tokens`` wait or run at once; none waits longer than ``max_wait_s`` for its turn."""
        self._max_tokens = max_tokens
        self._max_wait_s = max_wait_s
        self._metrics = metrics
        self._waiting: list[Job] = []
        self._tokens = 0
        self._running = 0
        self._closed = False
        self._rate = 0.0
        self._threads = ThreadPoolExecutor(BATCHES, thread_name_prefix="embedge-batch")
        metrics.watch_queue(lambda: self._tokens, lambda: len(self._waiting))

    async def run(self, engine: Engine, ids: Sequence[Sequence[int]]) -> FloatArray:
        """One row for each text, as :meth:`embedge.engine.Engine.run` gives. Shape: ``(n, width)``.

        When the caller is cancelled, texts that were not begun are dropped.

        Raises:
            Refused: more tokens than the queue ever takes, or than it takes now; it waited too long for its turn; the
                queue was closed.
            ValueError: no text.
        """
        if not ids:
            raise ValueError("no text to run")
        loop = asyncio.get_running_loop()
        job = Job(engine, ids, loop.create_future())
        with self.reserve(job.tokens):
            self._waiting.append(job)
            expiry = loop.call_later(self._max_wait_s, self._expire, job)
            try:
                self._start_batches()
                return await job.done
            finally:
                expiry.cancel()
                job.done.cancel()
                if job in self._waiting:
                    self._waiting.remove(job)

    @contextmanager
    def reserve(self, tokens: int) -> Iterator[None]:
        """Counts ``tokens`` among those that wait or run; ``Refused`` as for :meth:`run`."""
        if tokens > self._max_tokens:
            raise Refused("too_large", f"the texts have {tokens} tokens, and {self._max_tokens} may wait at once")
        if self._closed:
            raise _stopping()
        if self._tokens + tokens > self._max_tokens:
            raise self.overloaded(f"{self._tokens} tokens wait already; {self._max_tokens} may")
        self._tokens += tokens
        try:
            yield
        finally:
            self._tokens -= tokens

    def overloaded(self, message: str) -> Refused:
        """The refusal of a request that may come again when what waits now is done."""
        wait = self._tokens / self._rate if self._rate else 1.0
        return Refused("overloaded", message, retry_after_s=max(1, round(wait)))

    def close(self) -> None:
        """Refuse what waits and what comes, and end the threads after the batches that run."""
        self._closed = True
        for job in self._waiting:
            job.fail(_stopping())
        self._threads.shutdown(wait=False)

    def _expire(self, job: Job) -> None:
        if not job.begun:
            job.fail(self.overloaded(f"it waited {self._max_wait_s:g} s for its turn"))

    def _start_batches(self) -> None:
        # One that failed or expired has its answer, though its caller has not run yet to take it out.
        self._waiting = [job for job in self._waiting if not job.done.done()]
        while self._waiting and self._running < BATCHES:
            batch = take_batch(self._waiting)
            now = time.monotonic()
            for job, index in batch:
                if index == 0:
                    self._metrics.wait_time.observe(now - job.since)
            # Those with texts left go to the end, so that another model's turn comes before theirs.
            begun = {job for job, _ in batch}
            rest = [job for job in self._waiting if job in begun and job.begun < len(job.ids)]
            self._waiting = [job for job in self._waiting if job not in begun] + rest
            texts = [job.ids[index] for job, index in batch]
            engine = batch[0][0].engine
            try:
                running = asyncio.get_running_loop().run_in_executor(self._threads, engine.run, texts)
            except RuntimeError as exc:  # no further thread can be started here: a limit of processes
                for job in begun:
                    job.fail(exc)
                self._waiting = [job for job in self._waiting if job not in begun]
                continue
            self._running += 1
            running.add_done_callback(functools.partial(self._finish, batch, now))

    def _finish(self, batch: list[tuple[Job, int]], began: float, ended: "asyncio.Future[FloatArray]") -> None:
        took = max(time.monotonic() - began, 1e-6)
        # As many batches as run now finish in that time.
        rate = sum(len(job.ids[index]) for job, index in batch) / took * self._running
        self._running -= 1
        try:
            for (job, index), vector in zip(batch, ended.result(), strict=True):
                job.add(index, vector)
            self._rate = 0.9 * self._rate + 0.1 * rate if self._rate else rate
            self._metrics.observe_batch(len(batch), sum(len(job.ids[index]) for job, index in batch), took)
        except Exception as exc:  # whatever the engine raises is for those who wait
            for job, _ in batch:
                job.fail(exc)
        finally:  # whatever happened, those that wait have their turn
            self._start_batches()


def _stopping() -> Refused:
    return Refused("overloaded", "the server is stopping", retry_after_s=1)
