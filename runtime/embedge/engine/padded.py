"""Batches of texts of different lengths, padded, on one session: how fp16 runs, on a GPU or on the CPU.

A batch is one upload of token ids, in which the padding marks the lengths, and one download of vectors; all between
stays on the device. Batches run one after the other, since the device is one and a large batch fills it; a caller with
few texts waits for one batch of another's, not for all.

Lengths are padded to multiples of 16 and rows to powers of two, because cuDNN's attention is compiled for each shape
that it meets and kept for each thread (the cache in onnxruntime's ``cudnn_flash_attention.cc``), and because tensor
cores work on multiples of 8. Which budget of tokens is best was not measured.
"""

from collections.abc import Sequence
from functools import partial

import numpy as np
import numpy.typing as npt

from embedge.engine.calls import Calls
from embedge.engine.ort import CUDA, onnxruntime
from embedge.engine.plan import plan_padded
from embedge.engine.sessions import CLOSED, SessionMaker, SessionPool, failures_told
from embedge.engine.shutdown import native
from embedge.engine.threads import Slots
from embedge.errors import ProviderError
from embedge.vectors import FloatArray

PADDING = -1
"""No token has this id; the graph counts the others."""

# By devices. Attention on the CPU keeps a score for each two tokens of a text, and gains nothing by larger batches.
_TOKENS_PER_BATCH = {"cuda": 16384, "cpu": 1024}
_LENGTHS = 16


class PaddedEngine:
    """See :class:`embedge.engine.Engine`."""

    def __init__(self, maker: SessionMaker, *, threads: int, width: int, max_tokens: int) -> None:
        """``width`` is the length of the vectors, ``max_tokens`` that of the longest text.

        The session is made at once, and runs once where it is not the CPU's: a GPU that the kernels were not compiled
        for, or a library that is loaded late, shows only then. Errors as in `SessionMaker`.
        """
        self._sessions = SessionPool(maker, threads=threads, integer=False)
        self._width = width
        self._max_tokens = max_tokens
        self._device = "cuda" if maker.providers[0] == CUDA else "cpu"
        self._turns = Slots(1)
        self.calls = Calls(CLOSED, self._sessions.close)
        """See :class:`embedge.engine.Engine`."""
        self.batch_tokens = _TOKENS_PER_BATCH[self._device]
        """See :class:`embedge.engine.Engine`."""
        if not maker.on_cpu:
            self._run_batch([[0, 0]])

    @property
    def fallback(self) -> str | None:
        """See :class:`embedge.engine.Engine`."""
        return self._sessions.fallback

    def run(self, ids: Sequence[Sequence[int]]) -> FloatArray:
        """One vector for each text. Shape: ragged ``(n, tokens)`` -> ``(n, width)``."""
        return self.calls.run(lambda: self._run(ids))

    def _run(self, ids: Sequence[Sequence[int]]) -> FloatArray:
        vectors = np.empty((len(ids), self._width), np.float32)
        for group in plan_padded([len(tokens) for tokens in ids], self.batch_tokens):
            rows = [ids[index] for index in group]
            vectors[group] = native(partial(self._turns.run, partial(self._run_batch, rows)))
        return vectors

    def _run_batch(self, rows: Sequence[Sequence[int]]) -> FloatArray:
        """Shape: ragged ``(batch, tokens)`` -> ``(batch, width)``."""
        ids = pad(rows, self._max_tokens)
        session = self._sessions.get(ids.size, spread=True)
        with failures_told(*ids.shape):
            binding = session.io_binding()
            uploaded = onnxruntime.OrtValue.ortvalue_from_numpy(ids, self._device, 0)
            binding.bind_ortvalue_input("input_ids", uploaded)
            binding.bind_output("embedding", self._device, 0)
            session.run_with_iobinding(binding)
            vectors: FloatArray = binding.copy_outputs_to_cpu()[0][: len(rows)]
        # The export compares on a CPU, whose fused operators compute in float32, so it can't see every overflow.
        if not np.isfinite(vectors).all():
            raise ProviderError("fp16 overflowed: a vector is not finite; use variant 'fp32' of this model")
        return vectors


def pad(rows: Sequence[Sequence[int]], max_tokens: int) -> npt.NDArray[np.int64]:
    """Rows of ids, filled up on the right and below to one of few shapes.

    Shape: ragged ``(batch, tokens)`` -> a power of two of rows, of a multiple of 16 or ``max_tokens`` ids.
    """
    longest = max(len(row) for row in rows)
    length = max(longest, min(-(-longest // _LENGTHS) * _LENGTHS, max_tokens))
    padded = np.full((1 << (len(rows) - 1).bit_length(), length), PADDING, np.int64)
    for number, row in enumerate(rows):
        padded[number, : len(row)] = row
    padded[len(rows) :, 0] = rows[0][0]  # attention over no tokens at all would divide by zero
    return padded
