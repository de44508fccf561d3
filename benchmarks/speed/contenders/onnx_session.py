"""An ONNX file the usual way: texts padded to the longest of their batch, pooled in numpy. Not a contender itself."""

from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from tokenizers import Tokenizer

from benchmarks.speed.contenders import Embed, Knobs
from benchmarks.speed.contenders.settings import longest, pool, pools_mean

# The default of sentence-transformers and of most examples.
_DEFAULT_BATCH = 32


def load_padded(models: Path, graph: str, threads: int, knobs: Knobs) -> Embed:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(str(models / graph), options, providers=["CPUExecutionProvider"])
    names = [value.name for value in session.get_inputs()]
    tokenizer = Tokenizer.from_file(str(models / "checkpoint" / "tokenizer.json"))
    tokenizer.enable_truncation(longest(models))
    tokenizer.enable_padding()
    mean = pools_mean(models)
    batch = knobs.batch or _DEFAULT_BATCH

    def embed(texts: list[str]) -> Any:
        vectors = []
        for start in range(0, len(texts), batch):
            encoded = tokenizer.encode_batch(texts[start : start + batch])
            mask = np.array([text.attention_mask for text in encoded])
            inputs = {
                "input_ids": np.array([text.ids for text in encoded]),
                "attention_mask": mask,
                "token_type_ids": np.zeros_like(mask),
            }
            hidden = session.run(None, {name: inputs[name] for name in names})[0]
            vectors.append(pool(hidden, mask, mean))
        return np.concatenate(vectors)

    return embed
