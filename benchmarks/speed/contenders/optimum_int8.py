"""optimum's ORTModelForFeatureExtraction on what its ORTQuantizer writes with the avx512_vnni preset, dynamic."""

from pathlib import Path

from benchmarks.speed.contenders import Embed
from benchmarks.speed.contenders.optimum_model import load_model

LABEL = "optimum int8"
ENVIRONMENT = "optimum"
PACKAGES = ("optimum-onnx", "onnxruntime", "transformers", "torch")
FILES = ("onnx-vnni/model_quantized.onnx", "checkpoint/tokenizer.json")
PREPARED_BY: tuple[str, ...] = ("onnx_files",)
THREAD_SAFE = True


def load(models: Path, threads: int) -> Embed:
    return load_model(models, "onnx-vnni", "model_quantized.onnx", threads)
