"""embedge, fp32: a list at a time, everything else left to the defaults."""

from pathlib import Path

from benchmarks.speed.contenders import Embed
from embedge import Embedder

LABEL = "embedge fp32"
ENVIRONMENT = "embedge"
PACKAGES = ("embedge", "onnxruntime", "tokenizers", "numpy")
FILES = ("bundle/manifest.json", "bundle/tokenizer.json", "bundle/model.fp32.onnx", "bundle/model.fp32.bin")
PREPARED_BY: tuple[str, ...] = ()
THREAD_SAFE = True


def load(models: Path, threads: int) -> Embed:
    return Embedder.load(models / "bundle", variant="fp32", threads=threads).embed
