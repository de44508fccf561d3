"""OpenVINO on static int8 of NNCF.

By default it is compiled for latency and asked for one text after the other. Its documentation's way to throughput is
the hint for it and a queue of as many requests as the compiled model asks for; batches of several texts are padded.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import openvino
from tokenizers import Tokenizer

from benchmarks.speed.contenders import Embed, Knobs
from benchmarks.speed.contenders.settings import longest, pool, pools_mean

LABEL = "OpenVINO int8 (NNCF)"
ENVIRONMENT = "openvino"
PACKAGES = ("openvino", "tokenizers", "numpy")
FILES = ("openvino-int8/model.xml", "openvino-int8/model.bin", "checkpoint/tokenizer.json")
PREPARED_BY: tuple[str, ...] = ("onnx_files", "openvino_int8")
THREAD_SAFE = False
CANDIDATES = ({"batch": 1, "sort": True}, {"batch": 8, "sort": True}, {"batch": 32, "sort": True})


def load(models: Path, threads: int, knobs: Knobs) -> Embed:
    core = openvino.Core()
    model = core.read_model(models / "openvino-int8" / "model.xml")
    latency = core.compile_model(model, "CPU", {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_NUM_THREADS": threads})
    request = latency.create_infer_request()
    tokenizer = Tokenizer.from_file(str(models / "checkpoint" / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.enable_truncation(longest(models))
    mean = pools_mean(models)
    queues: list[openvino.AsyncInferQueue] = []  # compiled when the first list comes

    def queue() -> openvino.AsyncInferQueue:
        if not queues:
            options = {"PERFORMANCE_HINT": "THROUGHPUT", "INFERENCE_NUM_THREADS": threads}
            queues.append(openvino.AsyncInferQueue(core.compile_model(model, "CPU", options)))
            queues[0].set_callback(lambda done, then: then(done.get_output_tensor(0).data))
        return queues[0]

    def embed(texts: list[str]) -> Any:
        ids = [encoding.ids for encoding in tokenizer.encode_batch(texts)]
        vectors = np.empty((len(ids), 384), np.float32)
        step = knobs.batch or 1
        for start in range(0, len(ids), step):
            inputs = _padded(ids[start : start + step])
            mask = inputs["attention_mask"]

            def keep(hidden: Any, start: int = start, mask: Any = mask) -> None:
                vectors[start : start + step] = pool(hidden, mask, mean)

            if knobs.batch and len(ids) > 1:
                queue().start_async(inputs, keep)
            else:
                keep(request.infer(inputs)[0])
        if queues:
            queues[0].wait_all()
        return vectors

    return embed


def _padded(ids: Sequence[Sequence[int]]) -> dict[str, Any]:
    """The model's inputs for a batch, padded to its longest text."""
    shape = (len(ids), max(len(row) for row in ids))
    tokens, mask = np.zeros(shape, np.int64), np.zeros(shape, np.int64)
    for row, some in enumerate(ids):
        tokens[row, : len(some)], mask[row, : len(some)] = some, 1
    return {"input_ids": tokens, "attention_mask": mask, "token_type_ids": np.zeros_like(mask)}
