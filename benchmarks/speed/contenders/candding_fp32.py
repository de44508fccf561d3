"""candding, fp32: a binding of candle, in Rust, that loads the checkpoint as it is."""

from pathlib import Path
from typing import Any

from candding import TextEmbedding

from benchmarks.speed.contenders import Embed, Knobs

LABEL = "candding fp32"
ENVIRONMENT = "candding"
PACKAGES = ("candding", "numpy")
FILES = ("checkpoint/model.safetensors", "checkpoint/tokenizer.json")
PREPARED_BY: tuple[str, ...] = ()
THREAD_SAFE = True
CANDIDATES = ({"batch": 1}, {"batch": 8, "sort": True}, {"batch": 32, "sort": True})


def load(models: Path, threads: int, knobs: Knobs) -> Embed:
    # Its threads are those of rayon, which the runner sets.
    model = TextEmbedding(str(models / "checkpoint"), device="cpu", batch_size=knobs.batch)

    def embed(texts: list[str]) -> Any:
        return model.embed(texts)

    return embed
