"""sentence-transformers with its torch backend, fp32."""

from pathlib import Path
from typing import Any

import torch
from sentence_transformers import SentenceTransformer

from benchmarks.speed.contenders import Embed, Knobs

LABEL = "sentence-transformers, torch"
ENVIRONMENT = "sentence-transformers"
PACKAGES = ("sentence-transformers", "transformers", "torch")
FILES = ("checkpoint/model.safetensors", "checkpoint/tokenizer.json")
PREPARED_BY: tuple[str, ...] = ()
THREAD_SAFE = True
# It sorts by length itself; its default is a batch of 32.
CANDIDATES: tuple[dict[str, Any], ...] = ({"batch": 1}, {"batch": 8}, {})


def load(models: Path, threads: int, knobs: Knobs) -> Embed:
    torch.set_num_threads(threads)
    model = SentenceTransformer(str(models / "checkpoint"), backend="torch", device="cpu", local_files_only=True)
    batch = knobs.batch or 32
    return lambda texts: model.encode(texts, batch_size=batch, normalize_embeddings=True, show_progress_bar=False)
