"""sentence-transformers with its openvino backend, fp32."""

from pathlib import Path
from typing import Any

import torch
from sentence_transformers import SentenceTransformer

from benchmarks.speed.contenders import Embed, Knobs

LABEL = "sentence-transformers, openvino"
ENVIRONMENT = "sentence-transformers"
PACKAGES = ("sentence-transformers", "optimum-intel", "openvino", "transformers", "torch")
FILES = (
    "st-openvino/openvino/openvino_model.bin",
    "st-openvino/openvino/openvino_model.xml",
    "st-openvino/tokenizer.json",
)
PREPARED_BY: tuple[str, ...] = ("st_openvino",)
# With 64 callers 251 of 256 calls failed: "Infer Request is busy".
THREAD_SAFE = False
# It sorts by length itself; its default is a batch of 32.
CANDIDATES: tuple[dict[str, Any], ...] = ({"batch": 1}, {"batch": 8}, {})


def load(models: Path, threads: int, knobs: Knobs) -> Embed:
    torch.set_num_threads(threads)
    model = SentenceTransformer(str(models / "st-openvino"), backend="openvino", device="cpu", local_files_only=True)
    batch = knobs.batch or 32
    return lambda texts: model.encode(texts, batch_size=batch, normalize_embeddings=True, show_progress_bar=False)
