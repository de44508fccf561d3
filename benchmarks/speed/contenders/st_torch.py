"""sentence-transformers with its torch backend, fp32."""

from pathlib import Path

import torch
from sentence_transformers import SentenceTransformer

from benchmarks.speed.contenders import Embed

LABEL = "sentence-transformers, torch"
ENVIRONMENT = "sentence-transformers"
PACKAGES = ("sentence-transformers", "transformers", "torch")
FILES = ("checkpoint/model.safetensors", "checkpoint/tokenizer.json")
PREPARED_BY: tuple[str, ...] = ()
THREAD_SAFE = True


def load(models: Path, threads: int) -> Embed:
    torch.set_num_threads(threads)
    model = SentenceTransformer(str(models / "checkpoint"), backend="torch", device="cpu", local_files_only=True)
    return lambda texts: model.encode(texts, normalize_embeddings=True, show_progress_bar=False)
