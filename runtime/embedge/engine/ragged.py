"""Which texts run together, on which threads.

With fp16, which is for GPUs, they are padded to form large batches (:func:`plan_padded`). What follows is about the
other variants.

Texts are never padded. Texts of equal length run together until a run holds ``TOKENS_PER_RUN`` tokens, longer ones
one at a time; the longest start first, so that no long one is left for the end; every run keeps to one thread, and
as many runs as there are threads go side by side. A single text is spread over all threads instead.

Measured with bge-small's architecture, int8, on two cores with AVX512-VNNI that others use too (ONNX Runtime 1.32):

- Microseconds a token on one thread, by tokens in a run. Texts of 8 tokens: 415 (8 tokens, so one text), 310 (16), 244
  (32), 206 (64), 178 (128), 169 (256). Texts of 32 tokens: 232 (32), 197 (64), 182 (128), 173 (256). Texts of 128
  tokens: 192 one at a time. Hence ``TOKENS_PER_RUN``; beyond it little is won, and short lists would not fill the
  threads.
- 320 passages of 43 tokens on average: 1.3 to 1.8 s side by side on two threads, 2.2 to 3.0 s one run after the other
  with each spread over both, 3.0 to 3.3 s on one thread.
- A single text on one thread, or spread over two: 8 tokens 2.7 or 1.9 ms, 32 tokens 6.6 or 5.0 ms, 128 tokens 23.5 or
  15.7 ms, 512 tokens 131 or 68 ms while the other core is free. While other programs keep both cores busy, spreading
  costs more than it gains: 128 tokens 28 ms on one thread, 50 ms on two. Give ``threads=1`` there.
- The threads that a text was spread over wait for the next one busily, for some 50 ms: a list of 32 texts right after
  a single one takes 71 to 85 ms instead of 47 to 54. Letting them sleep (``session.force_spinning_stop``) would make a
  single text every 50 ms take 7 instead of 4.4 to 5.2, so they wait.
"""

import threading
from collections import defaultdict
from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

import numpy as np
import numpy.typing as npt

from embedge.engine.calls import Calls
from embedge.engine.fork import after_fork
from embedge.vectors import FloatArray

if TYPE_CHECKING:
    from concurrent.futures import ThreadPoolExecutor

TOKENS_PER_RUN = 128


class Model(Protocol):
    """What the workers need of :class:`embedge.engine.sessions.Engine`."""

    def run(self, ids: npt.NDArray[np.int64], *, spread: bool) -> FloatArray:
        """Shape: ``(batch, tokens)`` -> ``(batch, width)``."""


def plan(lengths: Sequence[int], threads: int) -> list[list[int]]:
    """Groups of indices of texts to run together: equal lengths, the longest first.

    A group holds at most ``TOKENS_PER_RUN`` tokens, or one text; less when that would leave a thread without work.
    """
    budget = min(TOKENS_PER_RUN, -(-sum(lengths) // threads))
    by_length: dict[int, list[int]] = defaultdict(list)
    for index, length in enumerate(lengths):
        by_length[length].append(index)
    groups = []
    for length in sorted(by_length, reverse=True):
        indices = by_length[length]
        size = max(1, budget // max(1, length))
        groups += [indices[start : start + size] for start in range(0, len(indices), size)]
    return groups


def plan_padded(lengths: Sequence[int], tokens: int) -> list[list[int]]:
    """Groups of indices of texts to run together, padded to the longest of each; the longest first.

    A group holds at most ``tokens`` tokens, padding included, or one text. All but the last have a power of two of
    texts, so that there are few different shapes (see :mod:`embedge.engine.padded`).
    """
    order = sorted(range(len(lengths)), key=lambda index: -lengths[index])
    groups: list[list[int]] = []
    while order:
        fitting = max(1, tokens // max(1, lengths[order[0]]))
        rows = min(len(order), 1 << (fitting.bit_length() - 1))
        groups.append(order[:rows])
        order = order[rows:]
    return groups


class Workers:
    """Runs token ids through a model on ``threads`` threads; any number of threads may call it at once."""

    def __init__(self, model: Model, *, threads: int, width: int) -> None:
        """``width`` is the length of the model's vectors."""
        self._model = model
        self._threads = threads
        self._width = width
        self._calls = Calls()
        self._pool: ThreadPoolExecutor | None = None
        self._renew()
        # The locks may be held, at the moment of a fork, by threads that the child does not have.
        after_fork(self, Workers._renew)

    def run(self, ids: Sequence[Sequence[int]]) -> FloatArray:
        """One vector for each text. Shape: ragged ``(n, tokens)`` -> ``(n, width)``."""
        with self._calls.under_way() as alone:
            vectors = np.empty((len(ids), self._width), np.float32)
            groups = plan([len(tokens) for tokens in ids], self._threads)
            if 2 * len(groups) <= max(2, self._threads):
                # The threads are idle when nobody else calls, so that one text may have them all.
                self._run_here(ids, groups, vectors, spread=alone)
            else:
                self._run_side_by_side(ids, groups, vectors)
        return vectors

    def close(self) -> None:
        """Wait for the calls under way, then end the threads."""
        self._calls.close()
        with self._lock:
            pool, self._pool = self._pool, None
        if pool is not None:
            pool.shutdown()

    def _run_here(
        self, ids: Sequence[Sequence[int]], groups: list[list[int]], vectors: FloatArray, spread: bool
    ) -> None:
        """A few texts, on the caller's thread: not queued behind somebody else's thousands."""
        for group in groups:
            if spread:
                self._run_group(ids, group, vectors, spread=True)
            else:
                with self._slots:
                    self._run_group(ids, group, vectors, spread=False)

    def _run_side_by_side(self, ids: Sequence[Sequence[int]], groups: list[list[int]], vectors: FloatArray) -> None:
        from concurrent.futures import ThreadPoolExecutor  # takes 4 ms, which a start with one query does without

        with self._lock:
            if self._pool is None:
                self._pool = ThreadPoolExecutor(self._threads, thread_name_prefix="embedge")
            futures = [self._pool.submit(self._run_group, ids, group, vectors, spread=False) for group in groups]
        try:
            for future in futures:
                future.result()
        except BaseException:  # Ctrl-C too: what is queued must not go on for minutes
            for future in futures:
                future.cancel()
            raise

    def _run_group(self, ids: Sequence[Sequence[int]], group: list[int], vectors: FloatArray, *, spread: bool) -> None:
        batch = np.array([ids[index] for index in group], np.int64)
        vectors[group] = self._model.run(batch, spread=spread)

    def _renew(self) -> None:
        self._lock = threading.Lock()
        self._slots = threading.Semaphore(self._threads)
        self._pool = None
