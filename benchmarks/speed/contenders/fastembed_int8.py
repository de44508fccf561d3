"""fastembed on the file of quantize_dynamic, as a custom local model; its defaults, a batch of 256 among them."""

from pathlib import Path

from benchmarks.speed.contenders import Embed
from benchmarks.speed.contenders.fastembed_model import load_model

LABEL = "fastembed int8"
ENVIRONMENT = "fastembed"
PACKAGES = ("fastembed", "onnxruntime", "tokenizers", "numpy")
FILES = ("fastembed-int8/model.onnx", "fastembed-int8/tokenizer.json")
PREPARED_BY: tuple[str, ...] = ("onnx_files",)
THREAD_SAFE = True


def load(models: Path, threads: int) -> Embed:
    return load_model(models, "fastembed-int8", threads)
