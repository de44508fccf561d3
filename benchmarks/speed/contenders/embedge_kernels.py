"""embedge, int8, with the package embedge-kernels: everything left to the defaults."""

from pathlib import Path

from benchmarks.speed.contenders import Embed, Knobs
from embedge import Embedder

LABEL = "embedge int8 kernels"
ENVIRONMENT = "embedge-kernels"
PACKAGES = ("embedge", "embedge-kernels", "onnxruntime", "tokenizers", "numpy")
FILES = ("bundle/manifest.json", "bundle/tokenizer.json", "bundle/model.int8-kernels.onnx", "bundle/model.int8.bin")
PREPARED_BY: tuple[str, ...] = ()
THREAD_SAFE = True
CANDIDATES: tuple[dict[str, int], ...] = ()


def load(models: Path, threads: int, knobs: Knobs) -> Embed:
    model = Embedder.load(models / "bundle", variant="int8", threads=threads)
    if model.kernels is None:
        raise RuntimeError("the kernels are not used")
    return model.embed
