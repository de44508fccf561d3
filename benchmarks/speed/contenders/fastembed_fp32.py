"""fastembed on its fp32 file, as exported by optimum."""

from pathlib import Path

from benchmarks.speed.contenders import Embed, Knobs
from benchmarks.speed.contenders.fastembed_model import load_model

LABEL = "fastembed fp32"
ENVIRONMENT = "fastembed"
PACKAGES = ("fastembed", "onnxruntime", "tokenizers", "numpy")
FILES = ("fastembed-fp32/model.onnx", "fastembed-fp32/tokenizer.json")
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
    return load_model(models, "fastembed-fp32", threads, knobs)
