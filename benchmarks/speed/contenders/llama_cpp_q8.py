"""llama.cpp on a Q8_0 GGUF of the same checkpoint."""

from pathlib import Path

import numpy as np
from llama_cpp import Llama

from benchmarks.speed.contenders import Embed

LABEL = "llama.cpp Q8_0"
ENVIRONMENT = "llama-cpp"
PACKAGES = ("llama-cpp-python", "numpy")
FILES = ("gguf/model-q8_0.gguf",)
PREPARED_BY: tuple[str, ...] = ("gguf_file",)
THREAD_SAFE = False


def load(models: Path, threads: int) -> Embed:
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
    return lambda texts: np.array(model.embed(texts, normalize=True))
