"""embedge, fp32: a list at a time, everything else left to the defaults. It has no batch size and no order to tune."""

from pathlib import Path

from benchmarks.speed.contenders import Embed, Knobs
from embedge import Embedder

LABEL = "embedge fp32"
ENVIRONMENT = "embedge"
PACKAGES = ("embedge", "onnxruntime", "tokenizers", "numpy")
FILES = ("bundle/manifest.json", "bundle/tokenizer.json", "bundle/model.fp32.onnx", "bundle/model.fp32.bin")
PREPARED_BY: tuple[str, ...] = ()
THREAD_SAFE = True
CANDIDATES: tuple[dict[str, int], ...] = ()


def load(models: Path, threads: int, knobs: Knobs) -> Embed:
    return Embedder.load(models / "bundle", variant="fp32", threads=threads).embed
