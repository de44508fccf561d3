"""fastembed on its fp32 file, as exported by optimum; its defaults, a batch of 256 among them."""

from pathlib import Path

from benchmarks.speed.contenders import Embed
from benchmarks.speed.contenders.fastembed_model import load_model

LABEL = "fastembed fp32"
ENVIRONMENT = "fastembed"
PACKAGES = ("fastembed", "onnxruntime", "tokenizers", "numpy")
FILES = ("fastembed-fp32/model.onnx", "fastembed-fp32/tokenizer.json")
PREPARED_BY: tuple[str, ...] = ("onnx_files",)
THREAD_SAFE = True


def load(models: Path, threads: int) -> Embed:
    return load_model(models, "fastembed-fp32", threads)
