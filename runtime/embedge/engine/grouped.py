"""Groups of texts side by side on threads, without padding: how all variants but fp16 run.

Every run keeps to one thread, and as many runs as there are threads go side by side (:mod:`.plan`). A single text is
spread over all threads instead, and so may be a short list. How texts are grouped, and what a run of the graph takes,
is a :class:`Grouping`: that of :mod:`.ragged` or of :mod:`.packed`.

Measured with bge-small's architecture, int8 by ONNX Runtime's kernels, on two cores with AVX512-VNNI that others use
too (ONNX Runtime 1.32):

- 320 passages of 43 tokens on average: 1.3 to 1.8 s side by side on two threads, 2.2 to 3.0 s one run after the other
  with each spread over both, 3.0 to 3.3 s on one thread.
- A single text on one thread, or spread over two: 8 tokens 2.7 or 1.9 ms, 32 tokens 6.6 or 5.0 ms, 128 tokens 23.5 or
  15.7 ms, 512 tokens 131 or 68 ms while the other core is free. While other programs keep both cores busy, spreading
  costs more than it gains: 128 tokens 28 ms on one thread, 50 ms on two. Give ``threads=1`` there.
- The threads that a text was spread over wait for the next one busily, for some 50 ms: a list of 32 texts right after
  a single one takes 71 to 85 ms instead of 47 to 54. Letting them sleep (``session.force_spinning_stop``) would make a
  single text every 50 ms take 7 instead of 4.4 to 5.2, so they wait, and short lists use them then.
"""

import time
from collections.abc import Sequence
from functools import partial
from typing import NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from embedge.engine.calls import Calls
from embedge.engine.plan import TOKENS_PER_RUN, Plan
from embedge.engine.sessions import CLOSED, SessionMaker, SessionPool, failures_told
from embedge.engine.shutdown import ending, native
from embedge.engine.threads import Helpers, Slots
from embedge.vectors import FloatArray

# How long the threads that a text was spread over wait busily for the next one.
_AWAKE_S = 0.05


class Planner(Protocol):
    """One of :mod:`.plan`."""

    def __call__(self, lengths: Sequence[int], threads: int, *, awake: bool) -> Plan:
        """Groups of texts of these ``lengths`` in tokens."""


class Inputs(Protocol):
    """What a run takes, by the names of the graph's inputs."""

    def __call__(self, texts: Sequence[Sequence[int]], *, spread: int) -> dict[str, npt.NDArray[np.int64]]:
        """For a group of ``texts``, ``spread`` over so many threads."""


class Grouping(NamedTuple):
    """How texts become runs of a graph."""

    plan: Planner
    inputs: Inputs
    asks_to_spread: bool
    """Whether the graph is told to spread a run, so that one session does; else there is one for each way."""


class GroupedEngine:
    """See :class:`embedge.engine.Engine`."""

    def __init__(self, maker: SessionMaker, grouping: Grouping, *, threads: int, width: int, integer: bool) -> None:
        """``width`` is the length of the vectors; ``integer`` says that the matrices are. Errors as `SessionMaker`'s.

        Elsewhere than on the CPU the session runs once: what it can't do shows now.
        """
        self._grouping = grouping
        self._sessions = SessionPool(maker, threads=threads, integer=integer and not grouping.asks_to_spread)
        self._threads = threads
        self._width = width
        self._slots = Slots(threads)
        self._helpers = Helpers(threads - 1)
        self._awake_s = _AWAKE_S if maker.spins else 0.0
        self._awake_until = 0.0
        self.calls = Calls(CLOSED, self._sessions.close)
        """See :class:`embedge.engine.Engine`."""
        # Four whole runs for each thread: enough that texts of equal length are found among mixed ones.
        self.batch_tokens = 4 * TOKENS_PER_RUN * threads
        """See :class:`embedge.engine.Engine`."""
        if not maker.on_cpu:
            self.run([[0, 0]])

    @property
    def fallback(self) -> str | None:
        """See :class:`embedge.engine.Engine`."""
        return self._sessions.fallback

    def run(self, ids: Sequence[Sequence[int]]) -> FloatArray:
        """One vector for each text. Shape: ragged ``(n, tokens)`` -> ``(n, width)``."""
        return self.calls.run(lambda: self._run(ids))

    def _run(self, ids: Sequence[Sequence[int]]) -> FloatArray:
        vectors = np.empty((len(ids), self._width), np.float32)

        def run_group(group: list[int], *, spread: bool = False) -> None:
            texts = [ids[index] for index in group]
            lengths = [len(text) for text in texts]
            session = self._sessions.get(sum(lengths), spread=spread or self._grouping.asks_to_spread)
            inputs = self._grouping.inputs(texts, spread=self._threads if spread else 1)
            with failures_told(len(texts), max(lengths)):
                vectors[group] = session.run(None, inputs)[0]

        def run_in_slot(group: list[int]) -> None:
            native(lambda: self._slots.run(lambda: run_group(group)))

        awake = time.monotonic() < self._awake_until
        groups, spread = self._grouping.plan([len(tokens) for tokens in ids], self._threads, awake=awake)
        # The threads are idle when nobody else calls, so that one run may have them all. One thread runs one text at a
        # time, whose memory it uses for the next.
        if spread and self._threads > 1 and not self.calls.others():
            for group in groups:
                native(partial(run_group, group, spread=True))
            self._awake_until = time.monotonic() + self._awake_s
        else:
            self._helpers.share(groups, run_in_slot, alone=ending())
        return vectors
