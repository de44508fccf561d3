"""optimum's ORTModelForFeatureExtraction on its own fp32 export."""

from pathlib import Path

from benchmarks.speed.contenders import Embed
from benchmarks.speed.contenders.optimum_model import load_model

LABEL = "optimum fp32"
ENVIRONMENT = "optimum"
PACKAGES = ("optimum-onnx", "onnxruntime", "transformers", "torch")
FILES = ("onnx/model.onnx", "checkpoint/tokenizer.json")
PREPARED_BY: tuple[str, ...] = ("onnx_files",)
THREAD_SAFE = True


def load(models: Path, threads: int) -> Embed:
    return load_model(models, "onnx", "model.onnx", threads)
