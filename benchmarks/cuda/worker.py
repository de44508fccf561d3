"""One contender in a fresh process; what it measured is JSON on the last line.

``python -m benchmarks.cuda.worker CONTENDER MODELS DEVICE TEXTS``. Times are from texts to vectors in host memory, the
tokenizer included. ``peak`` as the contender measures what the GPU can do: the product of two large float16 matrices.
"""

import functools
import importlib.metadata
import json
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.cuda.contenders import CONTENDERS, TOKENS_PER_BATCH
from benchmarks.speed import texts

LENGTHS = (16, 128, 512)
_ROUNDS = 5
_QUERIES = 100
_PACKAGES = ("embedge", "flash-attn", "onnxruntime", "onnxruntime-gpu", "sentence-transformers", "torch")


def main() -> None:
    name, models, device, count = sys.argv[1], Path(sys.argv[2]), sys.argv[3], int(sys.argv[4])
    if name == "peak":
        print(json.dumps(_peak(device)))
        return
    embed = CONTENDERS[name](models, device)
    result: dict[str, Any] = {"tokens_per_s": {}}
    for tokens in LENGTHS:
        # As many tokens at each length, so that each fills the GPU as well.
        documents = texts.texts_of(tokens, max(2, count * LENGTHS[0] // tokens))
        seconds = _seconds(functools.partial(embed, documents, TOKENS_PER_BATCH // tokens), _ROUNDS)
        result["tokens_per_s"][str(tokens)] = tokens * len(documents) / statistics.median(seconds)
    queries = iter(texts.texts_of(16, _QUERIES + 2))
    result["query_ms"] = 1e3 * statistics.median(_seconds(lambda: embed([next(queries)], 1), _QUERIES))
    result["vectors"] = [[float(x) for x in vector] for vector in embed(texts.texts_of(128, 8), 8)]
    installed = {each.name: each.version for each in importlib.metadata.distributions()}
    result["versions"] = {name: installed[name] for name in _PACKAGES if name in installed}
    print(json.dumps(result))


def _seconds(run: Callable[[], Any], rounds: int) -> list[float]:
    for _ in range(2):  # warms, and compiles what is compiled when it is first used
        run()
    taken = []
    for _ in range(rounds):
        start = time.perf_counter()
        run()
        taken.append(time.perf_counter() - start)
    return taken


def _peak(device: str) -> dict[str, Any]:
    import torch

    size, products = (8192, 20) if device == "cuda" else (512, 2)
    a = torch.rand((size, size), dtype=torch.float16, device=device)

    def multiply() -> None:
        for _ in range(products):
            a @ a
        if device == "cuda":
            torch.cuda.synchronize()

    flops = 2 * size**3 * products / min(_seconds(multiply, _ROUNDS))
    return {"flops": flops, "gpu": torch.cuda.get_device_name() if device == "cuda" else "none"}


if __name__ == "__main__":
    main()
