"""optimum's ORTModelForFeatureExtraction on what its ORTQuantizer writes with the avx512_vnni preset, dynamic."""

from pathlib import Path

from benchmarks.speed.contenders import Embed, Knobs
from benchmarks.speed.contenders.optimum_model import load_model

LABEL = "optimum int8"
ENVIRONMENT = "optimum"
PACKAGES = ("optimum-onnx", "onnxruntime", "transformers", "torch")
FILES = ("onnx-vnni/model_quantized.onnx", "checkpoint/tokenizer.json")
PREPARED_BY: tuple[str, ...] = ("onnx_files",)
THREAD_SAFE = True
CANDIDATES = ({"batch": 1}, {"batch": 8, "sort": True}, {"batch": 32, "sort": True})


def load(models: Path, threads: int, knobs: Knobs) -> Embed:
    return load_model(models, "onnx-vnni", "model_quantized.onnx", threads, knobs)
