"""A custom model of fastembed, loaded from a directory. Not a contender itself.

Its default is a batch of 256, padded to the longest text among them. ``parallel`` starts processes for each list that
is longer than a batch, each with a session of its own; they share the threads.
"""

from pathlib import Path
from typing import Any

import numpy as np
from fastembed import TextEmbedding
from fastembed.common.model_description import ModelSource, PoolingType

from benchmarks.speed.contenders import Embed, Knobs
from benchmarks.speed.contenders.settings import pools_mean

_DEFAULT_BATCH = 256


def load_model(models: Path, directory: str, threads: int, knobs: Knobs) -> Embed:
    mean = pools_mean(models)
    name = f"bench/{directory}"
    TextEmbedding.add_custom_model(
        model=name,
        pooling=PoolingType.MEAN if mean else PoolingType.CLS,
        normalization=True,
        sources=ModelSource(hf=name),
        dim=384,
        model_file="model.onnx",
    )
    path, threads_each = str(models / directory), max(1, threads // (knobs.processes or 1))
    model = TextEmbedding(name, specific_model_path=path, threads=threads_each, cuda=False)
    batch = knobs.batch or _DEFAULT_BATCH

    def embed(texts: list[str]) -> Any:
        parallel = knobs.processes if len(texts) > batch else None
        return np.array(list(model.embed(texts, batch_size=batch, parallel=parallel)))

    return embed
