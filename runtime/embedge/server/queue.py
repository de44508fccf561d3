"""Texts of all requests in one bounded queue, run by the engines in turns.

All that is kept here is touched by the event loop alone, so it needs no locks. Up to ``_BATCHES`` batches run at once,
on threads of their own. A batch goes to the model's engine, whose scheduler decides what runs together, as for the
library's calls: so a text has the bits that it has there, whatever else is in the batch.

A request that finds the engine free starts at once. What comes while batches run waits and shares the next one. A batch
takes one text of each request in turn, so that a request of one text does not wait for all of a long one.
"""

import asyncio
import functools
import time
from collections import deque
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np

from embedge.engine import Engine
from embedge.server.dialect import Refused
from embedge.server.metrics import Metrics
from embedge.vectors import FloatArray

_BATCHES = 2
# Enough that groups of equal length are found among short texts, few enough that a request waits briefly.
_BATCH_TOKENS = 1024


@dataclass(eq=False)
class Job:
    """The texts of one request that are under way."""

    engine: Engine
    ids: Sequence[Sequence[int]]
    done: asyncio.Future[FloatArray]
    since: float = field(default_factory=time.monotonic)
    begun: int = 0
    """How many texts were given to the engine."""
    rows: list[FloatArray | None] = field(default_factory=list)

    @property
    def tokens(self) -> int:
        """Of all its texts."""
        return sum(map(len, self.ids))


def take_batch(waiting: Sequence[Job], budget: int) -> list[tuple[Job, int]]:
    """Texts to run next, as jobs and indices: of the first job's model, one of each job in turn, ``budget`` tokens.

    One text at least. Counts them as begun.
    """
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
        self._rate = 0.0
        self._threads = ThreadPoolExecutor(_BATCHES, thread_name_prefix="embedge-batch")
        metrics.watch_queue(lambda: self._tokens, lambda: len(self._waiting))

    async def run(self, engine: Engine, ids: Sequence[Sequence[int]]) -> FloatArray:
        """One row for each text, as :meth:`embedge.engine.Engine.run` gives. Shape: ``(n, width)``.

        When the caller is cancelled, texts that were not begun are dropped.

        Raises:
            Refused: more tokens than the queue ever takes, or than it takes now; it waited too long for its turn.
        """
        job = Job(engine, ids, asyncio.get_running_loop().create_future(), rows=[None] * len(ids))
        tokens = job.tokens
        if tokens > self._max_tokens:
            raise Refused("too_large", f"the texts have {tokens} tokens, and {self._max_tokens} may wait at once")
        if self._tokens + tokens > self._max_tokens:
            raise self.overloaded(f"{self._tokens} tokens wait already; {self._max_tokens} may")
        self._tokens += tokens
        self._waiting.append(job)
        expiry = asyncio.get_running_loop().call_later(self._max_wait_s, self._expire, job)
        try:
            self._start_batches()
            return await job.done
        finally:
            expiry.cancel()
            self._tokens -= tokens
            if job in self._waiting:
                self._waiting.remove(job)

    def overloaded(self, message: str) -> Refused:
        """The refusal of a request that may come again when what waits now is done."""
        wait = self._tokens / self._rate if self._rate else 1.0
        return Refused("overloaded", message, retry_after_s=max(1, round(wait)))

    def close(self) -> None:
        """End the threads, which have nothing to do by now."""
        self._threads.shutdown(wait=False)

    def _expire(self, job: Job) -> None:
        if not job.begun and not job.done.done():
            job.done.set_exception(self.overloaded(f"it waited {self._max_wait_s:g} s for its turn"))

    def _start_batches(self) -> None:
        while self._waiting and self._running < _BATCHES:
            batch = take_batch(self._waiting, _BATCH_TOKENS)
            now = time.monotonic()
            for job, index in batch:
                if index == 0:
                    self._metrics.wait_time.observe(now - job.since)
            # Those with texts left go to the end, so that another model's turn comes before theirs.
            begun = {job for job, _ in batch}
            rest = [job for job in self._waiting if job in begun and job.begun < len(job.ids)]
            self._waiting = [job for job in self._waiting if job not in begun] + rest
            self._running += 1
            engine = batch[0][0].engine
            texts = [job.ids[index] for job, index in batch]
            running = asyncio.get_running_loop().run_in_executor(self._threads, engine.run, texts)
            running.add_done_callback(functools.partial(self._finish, batch, now))

    def _finish(self, batch: list[tuple[Job, int]], began: float, ended: asyncio.Future[FloatArray]) -> None:
        self._running -= 1
        error = ended.exception()
        if error is None:
            took = time.monotonic() - began
            tokens = sum(len(job.ids[index]) for job, index in batch)
            self._rate = tokens / took if not self._rate else 0.9 * self._rate + 0.1 * tokens / took
            self._metrics.observe_batch(len(batch), tokens, took)
        for number, (job, index) in enumerate(batch):
            if job.done.done():  # its caller went away, or another of its texts failed
                continue
            if error is not None:
                job.done.set_exception(error)
            else:
                job.rows[index] = ended.result()[number]
                if all(row is not None for row in job.rows):
                    job.done.set_result(np.stack([row for row in job.rows if row is not None]))
        self._start_batches()
