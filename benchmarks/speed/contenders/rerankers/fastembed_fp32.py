"""fastembed's TextCrossEncoder on an fp32 file as exported by optimum, as a custom local model."""

from pathlib import Path

from fastembed.common.model_description import ModelSource
from fastembed.rerank.cross_encoder import TextCrossEncoder

from benchmarks.speed.contenders import Embed, Knobs
from benchmarks.speed.texts import QUERY

LABEL = "fastembed TextCrossEncoder fp32"
ENVIRONMENT = "fastembed"
PACKAGES = ("fastembed", "onnxruntime", "tokenizers", "numpy")
FILES = ("fastembed-reranker/model.onnx", "fastembed-reranker/tokenizer.json")
PREPARED_BY: tuple[str, ...] = ("reranker_onnx",)
THREAD_SAFE = True
# Its default is a batch of 64, padded to the longest pair.
CANDIDATES = ({"batch": 1}, {"batch": 8, "sort": True}, {"batch": 32, "sort": True})
_NAME = "bench/reranker"


def load(models: Path, threads: int, knobs: Knobs) -> Embed:
    TextCrossEncoder.add_custom_model(_NAME, ModelSource(hf=_NAME), model_file="model.onnx")
    path = str(models / "fastembed-reranker")
    model = TextCrossEncoder(_NAME, specific_model_path=path, threads=threads, cuda=False)

    def score(texts: list[str]) -> list[float]:
        return list(model.rerank(QUERY, texts, batch_size=knobs.batch or 64))

    return score
