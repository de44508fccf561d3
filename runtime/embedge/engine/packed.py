"""Texts of any length together, end to end: the graphs for the kernels of ``embedge-kernels``.

The kernels do all that is row by row on the tokens of all texts at once, and attention within each text. One session
serves single texts and lists, since each run is told whether to use ONNX Runtime's threads: they have one copy of the
weights, and what they compute does not depend on it.
"""

import itertools
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from embedge.engine.grouped import Grouping
from embedge.engine.plan import plan_packed


def _inputs(texts: Sequence[Sequence[int]], *, spread: int) -> dict[str, npt.NDArray[np.int64]]:
    offsets = list(itertools.accumulate(map(len, texts), initial=0))
    ids = np.fromiter(itertools.chain.from_iterable(texts), np.int64, offsets[-1])
    return {"input_ids": ids, "offsets": np.array(offsets, np.int64), "spread": np.array(spread, np.int64)}


PACKED = Grouping(plan_packed, _inputs, asks_to_spread=True)
