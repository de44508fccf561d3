"""optimum's ORTModelForFeatureExtraction, as its documentation shows it. Not a contender itself."""

from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from optimum.onnxruntime import ORTModelForFeatureExtraction
from transformers import AutoTokenizer

from benchmarks.speed.contenders import Embed, Knobs
from benchmarks.speed.contenders.settings import longest, pool, pools_mean

# What transformers' users take most often; optimum has no default.
_DEFAULT_BATCH = 32


def load_model(models: Path, directory: str, file: str, threads: int, knobs: Knobs) -> Embed:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    model = ORTModelForFeatureExtraction.from_pretrained(
        models / directory, file_name=file, session_options=options, local_files_only=True
    )
    tokenizer = AutoTokenizer.from_pretrained(models / "checkpoint", local_files_only=True)
    mean = pools_mean(models)
    batch = knobs.batch or _DEFAULT_BATCH

    def embed(texts: list[str]) -> Any:
        vectors = []
        for start in range(0, len(texts), batch):
            inputs = tokenizer(
                texts[start : start + batch],
                padding=True,
                truncation=True,
                max_length=longest(models),
                return_tensors="np",
            )
            hidden, mask = model(**inputs).last_hidden_state, inputs["attention_mask"]
            vectors.append(pool(hidden, mask, mean))
        return np.concatenate(vectors)

    return embed
