"""What the checkpoint's own files say, for contenders that do not read them themselves."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[Any]


def longest(models: Path) -> int:
    """Tokens after which texts are truncated."""
    settings = json.loads((models / "checkpoint" / "sentence_bert_config.json").read_text())
    return int(settings["max_seq_length"])


def pools_mean(models: Path) -> bool:
    """Whether vectors are the mean over the tokens; if not, they are those of the first token."""
    settings = json.loads((models / "checkpoint" / "1_Pooling" / "config.json").read_text())
    return bool(settings["pooling_mode_mean_tokens"])


def pool(hidden: FloatArray, mask: FloatArray, mean: bool) -> FloatArray:
    """Shapes: ``(batch, tokens, hidden)``, ``(batch, tokens)`` -> ``(batch, hidden)`` of length 1."""
    vectors = (hidden * mask[:, :, None]).sum(axis=1) / mask.sum(axis=1)[:, None] if mean else hidden[:, 0]
    unit: FloatArray = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return unit
