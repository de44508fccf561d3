"""embedge, int8: a list at a time, everything else left to the defaults. It has no batch size and no order to tune."""

from pathlib import Path

from benchmarks.speed.contenders import Embed, Knobs
from embedge import Embedder

LABEL = "embedge int8"
ENVIRONMENT = "embedge"
PACKAGES = ("embedge", "onnxruntime", "tokenizers", "numpy")
FILES = ("bundle/manifest.json", "bundle/tokenizer.json", "bundle/model.int8.onnx", "bundle/model.int8.bin")
PREPARED_BY: tuple[str, ...] = ()
THREAD_SAFE = True
CANDIDATES: tuple[dict[str, int], ...] = ()


def load(models: Path, threads: int, knobs: Knobs) -> Embed:
    return Embedder.load(models / "bundle", variant="int8", threads=threads).embed
