"""embedge, fp32: everything left to the defaults. It has no batch size and no order to tune."""

from pathlib import Path

from benchmarks.speed.contenders import Embed, Knobs
from benchmarks.speed.texts import QUERY
from embedge import Reranker

LABEL = "embedge fp32"
ENVIRONMENT = "embedge"
PACKAGES = ("embedge", "onnxruntime", "tokenizers", "numpy")
FILES = ("bundle/manifest.json", "bundle/tokenizer.json", "bundle/model.fp32.onnx", "bundle/model.fp32.bin")
PREPARED_BY: tuple[str, ...] = ()
THREAD_SAFE = True
CANDIDATES: tuple[dict[str, int], ...] = ()


def load(models: Path, threads: int, knobs: Knobs) -> Embed:
    model = Reranker.load(models / "bundle", variant="fp32", threads=threads)

    def score(texts: list[str]) -> list[float]:
        ranked = model.rank(QUERY, texts)
        return [found.score for found in sorted(ranked, key=lambda found: found.index)]

    return score
