"""llama.cpp on a Q8_0 GGUF of the same checkpoint.

Its binding for Python puts as many texts into one pass as have 512 tokens together, without padding; a batch here is
the number of texts that it gets in one call, and so the most that it puts together.
"""

from pathlib import Path
from typing import Any

import numpy as np
from llama_cpp import Llama

from benchmarks.speed.contenders import Embed, Knobs

LABEL = "llama.cpp Q8_0"
ENVIRONMENT = "llama-cpp"
PACKAGES = ("llama-cpp-python", "numpy")
FILES = ("gguf/model-q8_0.gguf",)
PREPARED_BY: tuple[str, ...] = ("gguf_file",)
THREAD_SAFE = False
CANDIDATES: tuple[dict[str, Any], ...] = ({"batch": 1}, {"batch": 8, "sort": True}, {"batch": 32, "sort": True}, {})


def load(models: Path, threads: int, knobs: Knobs) -> Embed:
    model = Llama(
        str(models / FILES[0]),
        embedding=True,
        n_ctx=512,
        n_batch=512,
        n_ubatch=512,
        n_threads=threads,
        n_threads_batch=threads,
        verbose=False,
    )

    def embed(texts: list[str]) -> Any:
        step = knobs.batch or len(texts)
        return np.concatenate(
            [model.embed(texts[start : start + step], normalize=True) for start in range(0, len(texts), step)]
        )

    return embed
