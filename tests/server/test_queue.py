"""One queue for all requests: whose turn it is, what it takes, and what it leaves behind."""

import asyncio
import threading
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeVar

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from embedge.engine.calls import Calls
from embedge.requests import Refused
from embedge.server.metrics import Metrics
from embedge.server.queue import BATCHES, Job, Queue, take_batch
from embedge.vectors import FloatArray

_T = TypeVar("_T")
_WAIT_S = 20
BATCH_TOKENS = 512


class Gate:
    """An engine that runs a batch when it is let through; the vector of a text is its first id and its length."""

    def __init__(self, batch_tokens: int = BATCH_TOKENS) -> None:
        self.batch_tokens = batch_tokens
        self.batches: list[list[list[int]]] = []
        self.error: BaseException | None = None
        self.fallback = None
        self.calls = Calls("closed", lambda: None)
        self._begun = threading.Semaphore(0)
        self._ends = threading.Condition()
        self._runs = self._may_end = 0

    def run(self, ids: Sequence[Sequence[int]]) -> FloatArray:
        with self._ends:
            number = self._runs
            self._runs += 1
            self.batches.append([list(one) for one in ids])
        self._begun.release()
        with self._ends:
            assert self._ends.wait_for(lambda: number < self._may_end, timeout=_WAIT_S)
        if self.error:
            raise self.error
        return np.array([[one[0], len(one)] for one in ids], np.float32)

    async def begun(self, batches: int = 1) -> None:
        """Wait until that many further batches run."""
        for _ in range(batches):
            assert await asyncio.to_thread(self._begun.acquire, timeout=_WAIT_S)

    def let(self, batches: int = 1) -> None:
        """Let that many batches end, in the order in which they began."""
        with self._ends:
            self._may_end += batches
            self._ends.notify_all()


class Noting(Gate):
    """One that appends itself to ``order`` for each batch."""

    def __init__(self, order: list[Gate]) -> None:
        super().__init__()
        self._order = order

    def run(self, ids: Sequence[Sequence[int]]) -> FloatArray:
        self._order.append(self)
        return super().run(ids)


class Short(Gate):
    """One that loses the last vector."""

    def run(self, ids: Sequence[Sequence[int]]) -> FloatArray:
        return super().run(ids)[:-1]


def texts(count: int, *, tokens: int = 8, first: int = 0) -> list[list[int]]:
    """``count`` texts of which each begins with a number of its own, from ``first``."""
    return [[first + number, *[0] * (tokens - 1)] for number in range(count)]


def rows(ids: Sequence[Sequence[int]]) -> list[list[float]]:
    return [[one[0], len(one)] for one in ids]


def in_loop(work: Callable[[Queue], Awaitable[_T]], *, max_tokens: int = 100_000, max_wait_s: float = 60) -> _T:
    """What ``work`` gives with a queue of its own, which is empty again at the end."""
    faults: list[dict[str, Any]] = []

    async def main() -> _T:
        asyncio.get_running_loop().set_exception_handler(lambda _, context: faults.append(context))
        metrics = Metrics()
        queue = Queue(max_tokens=max_tokens, max_wait_s=max_wait_s, metrics=metrics)
        try:
            result = await asyncio.wait_for(work(queue), _WAIT_S)
            shown = metrics.render().decode()
            assert "\nembedge_queue_tokens 0.0\n" in shown
            assert "\nembedge_queue_requests 0.0\n" in shown
            return result
        finally:
            queue.close()

    result = asyncio.run(main())
    assert not faults
    return result


async def settle() -> None:
    """Let tasks that were made run as far as they can."""
    for _ in range(5):
        await asyncio.sleep(0)


async def fill(queue: Queue, gate: Gate) -> list["asyncio.Task[FloatArray]"]:
    """Requests that keep the engine busy until ``gate`` lets them end: whatever comes after them waits."""
    tasks = []
    for number in range(BATCHES):
        tasks.append(asyncio.create_task(queue.run(gate, texts(1, first=900 + number))))
        await gate.begun()
    gate.batches.clear()
    return tasks


# Whose turn it is


@given(
    st.lists(
        st.tuples(st.integers(0, 2), st.lists(st.integers(1, 40), min_size=1, max_size=8), st.integers(0, 7)),
        min_size=1,
        max_size=12,
    ),
    st.integers(1, 200),
)
def test_a_batch_is_of_one_model_and_takes_one_text_of_each_request_in_turn(
    requests: list[tuple[int, list[int], int]], budget: int
) -> None:
    gates = [Gate(budget), Gate(budget), Gate(budget)]
    loop = asyncio.new_event_loop()
    jobs = []
    for engine, lengths, begun in requests:
        job = Job(gates[engine], [[0] * length for length in lengths], loop.create_future())
        job.begun = min(begun, len(lengths) - 1)
        jobs.append(job)
    loop.close()
    before = [job.begun for job in jobs]
    batch = take_batch(jobs)

    assert {job.engine for job, _ in batch} == {jobs[0].engine}
    assert len(batch) == 1 or sum(len(job.ids[index]) for job, index in batch) <= budget
    taken = {id(job): [index for one, index in batch if one is job] for job in jobs}
    for job, begun in zip(jobs, before, strict=True):
        assert taken[id(job)] == list(range(begun, job.begun))
    # A request gets another text only when all those of its model before and after it have had as many, or are done.
    counts = [(len(taken[id(job)]), job) for job in jobs if job.engine is jobs[0].engine]
    most = max(count for count, _ in counts)
    assert all(count >= most - 1 or job.begun == len(job.ids) for count, job in counts)
    assert [count for count, job in counts if job.begun < len(job.ids)] == sorted(
        (count for count, job in counts if job.begun < len(job.ids)), reverse=True
    )


def test_a_lone_request_starts_at_once() -> None:
    async def work(queue: Queue) -> None:
        gate = Gate()
        task = asyncio.create_task(queue.run(gate, texts(3)))
        await settle()
        await gate.begun()
        assert gate.batches == [texts(3)]
        gate.let()
        assert (await task).tolist() == rows(texts(3))

    in_loop(work)


def test_what_comes_while_the_engine_is_busy_shares_the_next_batch() -> None:
    async def work(queue: Queue) -> None:
        gate = Gate()
        busy = await fill(queue, gate)
        tasks = [asyncio.create_task(queue.run(gate, texts(1, first=number))) for number in range(20)]
        await settle()
        assert gate.batches == []
        gate.let()
        await gate.begun()
        assert gate.batches == [texts(20)]
        gate.let(BATCHES)
        assert [result.tolist() for result in await asyncio.gather(*tasks)] == [rows([one]) for one in texts(20)]
        await asyncio.gather(*busy)

    in_loop(work)


def test_one_text_does_not_wait_for_a_whole_long_request() -> None:
    async def work(queue: Queue) -> None:
        gate = Gate()
        busy = await fill(queue, gate)
        large = asyncio.create_task(queue.run(gate, texts(400, tokens=BATCH_TOKENS // 4)))
        await settle()
        small = asyncio.create_task(queue.run(gate, texts(1, first=7000)))
        await settle()
        gate.let()
        await gate.begun()
        assert [7000, *[0] * 7] in gate.batches[0]
        gate.let(BATCHES)  # those that began before it, and it
        assert (await small).tolist() == [[7000, 8]]
        assert not large.done()
        gate.let(400)
        assert (await large).tolist() == rows(texts(400, tokens=BATCH_TOKENS // 4))
        await asyncio.gather(*busy)

    in_loop(work, max_tokens=1_000_000)


def test_two_models_take_turns() -> None:
    async def work(queue: Queue) -> None:
        busy_with, order = Gate(), list[Gate]()
        first, second = Noting(order), Noting(order)
        busy = await fill(queue, busy_with)
        tasks = [asyncio.create_task(queue.run(gate, texts(4, tokens=BATCH_TOKENS))) for gate in (first, second)]
        await settle()
        first.let(4)
        second.let(4)
        busy_with.let()  # one batch at a time, since the others stay busy
        await asyncio.gather(*tasks)
        assert order == [first, second] * 4
        busy_with.let(BATCHES - 1)
        await asyncio.gather(*busy)

    in_loop(work)


# Who goes away, and what goes wrong


def test_texts_of_a_caller_who_goes_away_are_not_run() -> None:
    async def work(queue: Queue) -> None:
        gate = Gate()
        busy = await fill(queue, gate)
        gone = asyncio.create_task(queue.run(gate, texts(5, first=100)))
        stays = asyncio.create_task(queue.run(gate, texts(1, first=7)))
        await settle()
        gone.cancel()
        await settle()
        gate.let(BATCHES + 1)
        assert (await stays).tolist() == [[7, 8]]
        assert gate.batches == [texts(1, first=7)]
        await asyncio.gather(*busy)
        with pytest.raises(asyncio.CancelledError):
            await gone

    in_loop(work)


def test_what_is_left_of_a_request_under_way_is_not_run_when_its_caller_goes_away() -> None:
    async def work(queue: Queue) -> None:
        gate = Gate()
        gone = asyncio.create_task(queue.run(gate, texts(50, tokens=BATCH_TOKENS)))
        await gate.begun(BATCHES)
        gone.cancel()
        await settle()
        gate.let(BATCHES)
        gate.let()
        assert (await queue.run(gate, texts(1, first=7))).tolist() == [[7, 8]]
        assert len(gate.batches) == BATCHES + 1

    in_loop(work)


def test_a_caller_who_goes_away_frees_its_place() -> None:
    async def work(queue: Queue) -> None:
        gate = Gate()
        busy = await fill(queue, gate)
        gone = asyncio.create_task(queue.run(gate, texts(10, first=100)))
        await settle()
        with pytest.raises(Refused):
            await queue.run(gate, texts(10))
        gone.cancel()
        await settle()
        assert "\nembedge_queue_requests 0.0\n" in queue._metrics.render().decode()
        task = asyncio.create_task(queue.run(gate, texts(10)))
        gate.let(BATCHES + 1)
        assert (await task).tolist() == rows(texts(10))
        await asyncio.gather(*busy)

    in_loop(work, max_tokens=80 + 8 * BATCHES)


def test_a_failed_batch_is_an_error_for_each_request_in_it_and_the_next_works() -> None:
    async def work(queue: Queue) -> None:
        gate = Gate()
        busy = await fill(queue, gate)
        tasks = [asyncio.create_task(queue.run(gate, texts(2, first=number))) for number in range(3)]
        await settle()
        right = Gate()
        others = [asyncio.create_task(queue.run(right, texts(2))) for _ in range(BATCHES)]
        await settle()
        gate.let()
        await gate.begun()
        gate.error = RuntimeError("out of order")
        gate.let(BATCHES)
        results = await asyncio.gather(*tasks, return_exceptions=True)
        assert [str(result) for result in results] == ["out of order"] * 3
        await asyncio.gather(*busy, return_exceptions=True)
        right.let(BATCHES)
        assert [result.tolist() for result in await asyncio.gather(*others)] == [rows(texts(2))] * BATCHES

    in_loop(work)


def test_what_is_left_of_a_request_is_not_run_after_one_of_its_texts_failed() -> None:
    async def work(queue: Queue) -> None:
        gate = Gate()
        task = asyncio.create_task(queue.run(gate, texts(50, tokens=BATCH_TOKENS)))
        await gate.begun(BATCHES)
        gate.error = RuntimeError("out of order")
        gate.let(BATCHES)
        with pytest.raises(RuntimeError, match="out of order"):
            await task
        gate.error = None
        gate.let()
        await queue.run(gate, texts(1))
        assert len(gate.batches) == BATCHES + 1

    in_loop(work)


def test_too_few_vectors_from_an_engine_are_an_error_and_the_next_request_works() -> None:
    async def work(queue: Queue) -> None:
        gate = Short()
        gate.let(BATCHES + 1)
        for _ in range(BATCHES + 1):  # as many as would stop all batches for ever
            with pytest.raises(ValueError, match="zip"):
                await queue.run(gate, texts(2))
        right = Gate()
        right.let()
        assert (await queue.run(right, texts(2))).tolist() == rows(texts(2))

    in_loop(work)


def test_a_request_that_waits_too_long_for_its_turn_is_refused_and_not_run() -> None:
    async def work(queue: Queue) -> None:
        gate = Gate()
        busy = await fill(queue, gate)
        with pytest.raises(Refused, match="waited") as caught:
            await queue.run(gate, texts(1, first=7))
        assert caught.value.kind == "overloaded"
        gate.let(BATCHES)
        # Those whose turn had come in time are not refused, however long they take.
        assert [len(result) for result in await asyncio.gather(*busy)] == [1] * BATCHES
        assert gate.batches == []

    in_loop(work, max_wait_s=0.05)


# What it takes


def test_more_tokens_than_may_wait_are_refused_at_once_with_a_time_to_come_again() -> None:
    async def work(queue: Queue) -> None:
        gate = Gate()
        busy = await fill(queue, gate)
        waiting = asyncio.create_task(queue.run(gate, texts(10)))
        await settle()
        with pytest.raises(Refused) as caught:
            await queue.run(gate, texts(1))
        assert caught.value.kind == "overloaded"
        assert caught.value.retry_after_s
        assert caught.value.retry_after_s >= 1
        gate.let(BATCHES + 1)
        await asyncio.gather(waiting, *busy)

    in_loop(work, max_tokens=80 + 8 * BATCHES)


def test_more_tokens_than_ever_fit_are_another_refusal() -> None:
    async def work(queue: Queue) -> None:
        with pytest.raises(Refused) as caught:
            await queue.run(Gate(), texts(3))
        assert caught.value.kind == "too_large"
        assert caught.value.retry_after_s is None

    in_loop(work, max_tokens=23)


def test_a_closed_queue_refuses_what_waits_and_what_comes() -> None:
    async def work(queue: Queue) -> None:
        gate = Gate()
        busy = await fill(queue, gate)
        waiting = asyncio.create_task(queue.run(gate, texts(1)))
        await settle()
        queue.close()
        for refused in (waiting, queue.run(gate, texts(1))):
            with pytest.raises(Refused, match="stopping"):
                await refused
        gate.let(BATCHES)
        assert [len(result) for result in await asyncio.gather(*busy)] == [1] * BATCHES

    in_loop(work)


def test_what_waits_fails_where_no_further_thread_can_be_started_and_does_not_hang() -> None:
    async def work(queue: Queue) -> None:
        gate = Gate()
        busy = await fill(queue, gate)
        waiting = asyncio.create_task(queue.run(gate, texts(1)))
        await settle()
        queue._threads.shutdown(wait=False)  # it refuses work with the error that a limit of processes gives
        gate.let(BATCHES)
        with pytest.raises(RuntimeError, match="cannot schedule"):
            await waiting
        await asyncio.gather(*busy)

    in_loop(work)


def test_without_a_further_thread_a_request_fails_and_the_next_one_works(monkeypatch: pytest.MonkeyPatch) -> None:
    async def work(queue: Queue) -> None:
        gate = Gate()
        with monkeypatch.context() as patch:
            patch.setattr(threading.Thread, "start", _no_thread)
            for _ in range(BATCHES + 1):
                with pytest.raises(RuntimeError, match="new thread"):
                    await queue.run(gate, texts(1))
        gate.let(10)  # those that found no thread may be run by the next, for nobody
        assert (await queue.run(gate, texts(2))).tolist() == rows(texts(2))

    in_loop(work)


def _no_thread(thread: threading.Thread) -> None:
    raise RuntimeError("can't start new thread")
