"""Texts of equal length side by side on threads, without padding: how all variants but fp16 run.

Every run keeps to one thread, and as many runs as there are threads go side by side (:mod:`.plan`). A single text is
spread over all threads instead.

Measured with bge-small's architecture, int8, on two cores with AVX512-VNNI that others use too (ONNX Runtime 1.32):

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
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from embedge.engine import fork
from embedge.engine.calls import Calls
from embedge.engine.plan import plan
from embedge.engine.sessions import SessionMaker, SessionPool, failures_told
from embedge.vectors import FloatArray

if TYPE_CHECKING:
    from concurrent.futures import ThreadPoolExecutor


class RaggedEngine:
    """See :class:`embedge.engine.Engine`."""

    def __init__(self, maker: SessionMaker, *, threads: int, width: int, integer: bool) -> None:
        """``width`` is the length of the vectors; ``integer`` says that the matrices are. Errors as `SessionMaker`'s.

        Elsewhere than on the CPU the session runs once: what it can't do shows now.
        """
        self._sessions = SessionPool(maker, threads=threads, integer=integer)
        self._threads = threads
        self._width = width
        self._calls = Calls()
        self._pool: ThreadPoolExecutor | None = None
        self.after_fork()
        fork.watch(self)
        if not maker.on_cpu:
            self.run([[0, 0]])

    @property
    def fallback(self) -> str | None:
        """See :class:`embedge.engine.Engine`."""
        return self._sessions.fallback

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
        session = self._sessions.get(batch.size, spread=spread)
        with failures_told(*batch.shape):
            vectors[group] = session.run(None, {"input_ids": batch})[0]

    def after_fork(self) -> None:
        """Make anew what a thread that the child lacks may have held, see :mod:`.fork`."""
        self._lock = threading.Lock()
        self._slots = threading.Semaphore(self._threads)
        self._pool = None
