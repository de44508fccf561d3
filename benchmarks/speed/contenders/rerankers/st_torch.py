"""sentence-transformers' CrossEncoder with its torch backend, fp32."""

from pathlib import Path
from typing import Any

import torch
from sentence_transformers import CrossEncoder

from benchmarks.speed.contenders import Embed, Knobs
from benchmarks.speed.texts import QUERY

LABEL = "sentence-transformers CrossEncoder, torch"
ENVIRONMENT = "sentence-transformers"
PACKAGES = ("sentence-transformers", "transformers", "torch")
FILES = ("checkpoint/model.safetensors", "checkpoint/tokenizer.json")
PREPARED_BY: tuple[str, ...] = ()
THREAD_SAFE = True
# It sorts by length itself; its default is a batch of 32.
CANDIDATES: tuple[dict[str, Any], ...] = ({"batch": 1}, {"batch": 8}, {})


def load(models: Path, threads: int, knobs: Knobs) -> Embed:
    torch.set_num_threads(threads)
    model = CrossEncoder(str(models / "checkpoint"), device="cpu", local_files_only=True)

    def score(texts: list[str]) -> list[float]:
        ranked = model.rank(QUERY, texts, batch_size=knobs.batch or 32, show_progress_bar=False)
        return [float(found["score"]) for found in sorted(ranked, key=lambda found: found["corpus_id"])]

    return score
