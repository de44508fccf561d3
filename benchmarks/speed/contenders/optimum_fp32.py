"""optimum's ORTModelForFeatureExtraction on its own fp32 export."""

from pathlib import Path

from benchmarks.speed.contenders import Embed, Knobs
from benchmarks.speed.contenders.optimum_model import load_model

LABEL = "optimum fp32"
ENVIRONMENT = "optimum"
PACKAGES = ("optimum-onnx", "onnxruntime", "transformers", "torch")
FILES = ("onnx/model.onnx", "checkpoint/tokenizer.json")
PREPARED_BY: tuple[str, ...] = ("onnx_files",)
THREAD_SAFE = True
CANDIDATES = ({"batch": 1}, {"batch": 8, "sort": True}, {"batch": 32, "sort": True})


def load(models: Path, threads: int, knobs: Knobs) -> Embed:
    return load_model(models, "onnx", "model.onnx", threads, knobs)
