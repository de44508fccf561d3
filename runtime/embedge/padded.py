"""Batches of texts of different lengths, padded, on one session: how fp16 runs, on a GPU or on the CPU.

A batch is one upload of token ids, in which the padding tells the lengths, and one download of vectors; all between
stays on the device. Batches run one after the other, since the device is one and a large batch fills it. Which tokens
budget is best was not measured on a GPU.
"""

import threading
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from embedge.errors import EmbedgeError, ProviderError
from embedge.fork import after_fork
from embedge.schedule import plan_padded
from embedge.session import CPU, CUDA, SessionMaker, abandon
from embedge.vectors import FloatArray

import onnxruntime  # isort: skip - after embedge.session, which switches its telemetry off

PADDING = -1
"""No token has this id; the graph counts the others."""

# By devices. Attention on the CPU keeps a score for each two tokens of a text, and gains nothing by larger batches.
_TOKENS_PER_BATCH = {"cuda": 16384, "cpu": 1024}


class PaddedRunner:
    """Runs token ids through a graph of padded batches; any number of threads may call it, and take turns."""

    def __init__(self, graph: Path, weights: Path, *, threads: int, providers: Sequence[str], width: int) -> None:
        """``width`` is the length of the vectors. The session is made at once; errors as in `SessionMaker`."""
        self._maker = SessionMaker(graph, weights, providers)
        self._threads = threads
        self._width = width
        self._device = "cuda" if self._maker.providers[0] == CUDA else "cpu"
        self._lock = threading.Lock()
        self._closed = False
        self._session: onnxruntime.InferenceSession | None = self._maker.make(threads)
        self.fallback: str | None = None
        """What runs on the CPU although other providers were asked for."""
        if self._maker.providers != [CPU]:
            from embedge.providers import find_fallback

            self.fallback = find_fallback(self._session, self._maker.providers)
        after_fork(self, PaddedRunner._abandon_session)

    def run(self, ids: Sequence[Sequence[int]]) -> FloatArray:
        """One vector for each text. Shape: ragged ``(n, tokens)`` -> ``(n, width)``."""
        vectors = np.empty((len(ids), self._width), np.float32)
        with self._lock:
            if self._closed:
                raise EmbedgeError("this Embedder is closed; load it again")
            for group in plan_padded([len(tokens) for tokens in ids], _TOKENS_PER_BATCH[self._device]):
                vectors[group] = self._run_batch(pad([ids[index] for index in group]))
        return vectors

    def close(self) -> None:
        """Wait for the calls under way, then let the session go."""
        with self._lock:
            self._closed = True
            self._session = None

    def _run_batch(self, ids: npt.NDArray[np.int64]) -> FloatArray:
        """Shape: ``(batch, tokens)`` -> ``(batch, width)``."""
        if self._session is None:
            self._session = self._maker.make(self._threads)
        try:
            binding = self._session.io_binding()
            uploaded = onnxruntime.OrtValue.ortvalue_from_numpy(ids, self._device, 0)
            binding.bind_ortvalue_input("input_ids", uploaded)
            binding.bind_output("embedding", self._device, 0)
            self._session.run_with_iobinding(binding)
            vectors: FloatArray = binding.copy_outputs_to_cpu()[0]
        except Exception as exc:
            raise ProviderError(f"ONNX Runtime failed on {ids.shape[0]} texts of {ids.shape[1]} tokens: {exc}") from exc
        return vectors

    def _abandon_session(self) -> None:
        """In a forked child: let a new session be made; the lock may be held by a thread that the child lacks."""
        if self._session is not None:
            abandon(self._session)
        self._session = None
        self._lock = threading.Lock()


def pad(rows: Sequence[Sequence[int]]) -> npt.NDArray[np.int64]:
    """Rows of ids, filled up on the right. Shape: ragged ``(batch, tokens)`` -> ``(batch, longest)``."""
    padded = np.full((len(rows), max(len(row) for row in rows)), PADDING, np.int64)
    for number, row in enumerate(rows):
        padded[number, : len(row)] = row
    return padded
