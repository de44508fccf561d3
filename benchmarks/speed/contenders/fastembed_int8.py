"""fastembed on the file of quantize_dynamic, as a custom local model."""

from pathlib import Path

from benchmarks.speed.contenders import Embed, Knobs
from benchmarks.speed.contenders.fastembed_model import load_model

LABEL = "fastembed int8"
ENVIRONMENT = "fastembed"
PACKAGES = ("fastembed", "onnxruntime", "tokenizers", "numpy")
FILES = ("fastembed-int8/model.onnx", "fastembed-int8/tokenizer.json")
PREPARED_BY: tuple[str, ...] = ("onnx_files",)
THREAD_SAFE = True
CANDIDATES = (
    {"batch": 1},
    {"batch": 8, "sort": True},
    {"batch": 32, "sort": True},
    # Its documentation advises this for large data sets.
    {"batch": 8, "sort": True, "processes": 2},
)


def load(models: Path, threads: int, knobs: Knobs) -> Embed:
    return load_model(models, "fastembed-int8", threads, knobs)
