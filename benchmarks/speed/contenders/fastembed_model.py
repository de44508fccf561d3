"""A custom model of fastembed, loaded from a directory. Not a contender itself."""

from pathlib import Path

import numpy as np
from fastembed import TextEmbedding
from fastembed.common.model_description import ModelSource, PoolingType

from benchmarks.speed.contenders import Embed
from benchmarks.speed.contenders.settings import pools_mean


def load_model(models: Path, directory: str, threads: int) -> Embed:
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
    model = TextEmbedding(name, specific_model_path=str(models / directory), threads=threads, cuda=False)
    return lambda texts: np.array(list(model.embed(texts)))
