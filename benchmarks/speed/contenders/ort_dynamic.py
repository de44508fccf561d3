"""ONNX Runtime by hand on a file of `quantize_dynamic` with its defaults: what most published int8 files are."""

from pathlib import Path

from benchmarks.speed.contenders import Embed, Knobs
from benchmarks.speed.contenders.onnx_session import load_padded

LABEL = "onnxruntime, quantize_dynamic"
ENVIRONMENT = "embedge"
PACKAGES = ("onnxruntime", "tokenizers", "numpy")
FILES = ("onnx-dynamic/model.onnx", "checkpoint/tokenizer.json")
PREPARED_BY: tuple[str, ...] = ("onnx_files",)
THREAD_SAFE = True
CANDIDATES = ({"batch": 1}, {"batch": 8, "sort": True}, {"batch": 32, "sort": True})


def load(models: Path, threads: int, knobs: Knobs) -> Embed:
    return load_padded(models, "onnx-dynamic/model.onnx", threads, knobs)
