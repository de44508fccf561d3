"""Texts of equal length together: the graphs of ONNX Runtime's own operators, on the CPU and elsewhere."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from embedge.engine.grouped import Grouping
from embedge.engine.plan import plan


def _inputs(texts: Sequence[Sequence[int]], *, spread: int) -> dict[str, npt.NDArray[np.int64]]:
    return {"input_ids": np.array(texts, np.int64)}


RAGGED = Grouping(plan, _inputs, asks_to_spread=False)
